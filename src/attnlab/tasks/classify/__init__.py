"""Answers that are labels."""
