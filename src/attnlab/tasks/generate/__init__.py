"""Answers that are sequences of units."""
