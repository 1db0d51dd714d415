"""`attnlab.watch`: the attention of any model, seen and changed beside its fused forward pass."""

from attnlab.watching.pictures import Picture
from attnlab.watching.watch import Watch, watch

__all__ = ["Picture", "Watch", "watch"]
