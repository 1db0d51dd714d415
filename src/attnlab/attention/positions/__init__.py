"""How the mechanism knows where queries and keys stand."""
