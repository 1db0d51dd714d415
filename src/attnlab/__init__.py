"""attnlab: swap the attention, predict the attention, check the attention."""

__version__ = "0.1.0"
