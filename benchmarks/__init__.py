"""One file per workload: `python -m benchmarks.NAME`. Ratios of medians of one interleaved run."""
