"""How positions enter the mechanism."""
