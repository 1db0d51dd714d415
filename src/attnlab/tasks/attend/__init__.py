"""Answers that are maps."""
