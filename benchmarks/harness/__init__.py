"""What both benchmarks share: shapes, start weights, processes, rounds, ratios, tables, files."""
