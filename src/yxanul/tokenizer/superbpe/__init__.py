"""SuperBPE (arXiv 2503.13423): a second stage of BPE whose merges cross words."""
