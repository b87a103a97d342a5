"""Inspection of plans, of shards, of the rows of a step, and of the progress of a run."""
