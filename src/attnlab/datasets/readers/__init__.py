"""Readers: users' own files, row by row, and what their columns mean."""
