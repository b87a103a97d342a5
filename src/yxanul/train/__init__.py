"""Training: loop, curriculum, precision, progress and callbacks."""
