"""Inspection of plans, of shards, of the rows of a step, and of what looks wrong in a run."""
