"""Deduplication: fingerprints per slice, then a global decision over all of them."""
