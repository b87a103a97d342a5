"""Stages: consecutive training runs on different mixes, each ended by a gate."""
