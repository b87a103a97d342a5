"""Token data: shards of encoded documents, their order and mix, and batches."""
