"""Texts that are continued: the next unit at every position."""
