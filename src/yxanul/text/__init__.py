"""Text: sources, filters, deduplication, decontamination, train/validation split."""
