"""Copies of earlier documents: fingerprints part by part, then one decision over all of them."""
