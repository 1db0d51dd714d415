"""How many maps there are, and what they share."""
