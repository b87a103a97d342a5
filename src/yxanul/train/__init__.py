"""Training: the loop, its curriculum, precision, progress and callbacks."""
