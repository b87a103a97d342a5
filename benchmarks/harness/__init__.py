"""The harness of all benchmarks: processes, contenders in turn, reports, shapes, texts."""
