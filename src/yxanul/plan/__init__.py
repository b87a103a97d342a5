"""Planning: what this machine can do."""
