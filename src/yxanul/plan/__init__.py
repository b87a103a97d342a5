"""Preflight checks and machine report."""
