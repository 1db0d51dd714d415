"""Answers that are units of the input."""
