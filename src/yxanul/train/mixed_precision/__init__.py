"""Precision: which arithmetic the model runs in, beside its fp32 master weights."""
