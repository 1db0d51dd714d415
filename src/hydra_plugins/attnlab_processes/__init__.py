"""Hydra launcher `processes`: one OS process for each job of a sweep."""
