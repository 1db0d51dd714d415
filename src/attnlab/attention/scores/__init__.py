"""How well a key answers a query."""
