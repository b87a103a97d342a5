"""Documents: where they come from, what is dropped, and what is held out for validation."""
