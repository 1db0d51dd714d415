"""The implementations: one reference for everything, and fast ones for what they can serve."""
