"""Which keys a query may look at."""
