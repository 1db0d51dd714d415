"""Schema and composition of the config. Nothing in this package imports torch."""
