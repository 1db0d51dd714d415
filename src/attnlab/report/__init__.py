"""Pictures and pages: the figures of a run where people look at them."""
