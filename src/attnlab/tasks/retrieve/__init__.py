"""Answers that are chosen among texts."""
