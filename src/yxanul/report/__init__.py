"""Reports of runs: facts read from a run's files, and one page that shows them."""
