"""Stages: what is learnt in which order, and the gates that decide whether the next one starts."""
