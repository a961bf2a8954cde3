"""Benchmarks: FDSS and its peers side by side on the same rows, as ratios."""
