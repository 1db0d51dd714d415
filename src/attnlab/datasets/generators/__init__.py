"""The embedded data: examples made from a seed, whose attention is known by construction."""
