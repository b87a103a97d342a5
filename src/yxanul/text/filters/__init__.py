"""Filters: what a document must have to be trained on."""
