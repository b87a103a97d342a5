"""Tokens: documents encoded into shards, their order, their mix, and batches of them."""
