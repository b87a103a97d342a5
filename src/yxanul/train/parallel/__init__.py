"""Several processes that train together: the world they form, and how they share the work."""
