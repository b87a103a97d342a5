"""What every package may use: errors, settings, tables, seeds, files, clocks."""
