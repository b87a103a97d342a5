"""Looking at what is there: encoded text, the rows of a step, the progress of a run."""
