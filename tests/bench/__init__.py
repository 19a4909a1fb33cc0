"""Benchmarks: `make bench`. Ratios are taken side by side in one run, on real alerts."""
