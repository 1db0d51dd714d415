"""Tests of whether a map decides, and whether it points to what does."""
