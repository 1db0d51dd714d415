"""Losses: the task's and the attention's."""
