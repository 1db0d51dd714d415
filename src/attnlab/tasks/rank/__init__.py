"""Answers that are one item of all."""
