"""Answers that are a tag for each unit of the input."""
