"""Figures that anyone can measure again: `python -m benchmarks.NAME`, written to docs/results.md."""
