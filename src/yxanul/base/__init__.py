"""Shared foundation of all packages: errors, settings, registries, seeds, files, clocks."""
