"""Answers that are boxes."""
