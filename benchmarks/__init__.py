"""Figures that anyone can measure again: `python -m benchmarks.NAME` writes docs/results.md."""
