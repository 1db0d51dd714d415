"""Schema and composition of the config. Nothing in this room imports torch."""
