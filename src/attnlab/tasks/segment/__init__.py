"""Answers that are a class for each pixel."""
