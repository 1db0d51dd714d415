"""Absolute positions, added to queries and keys before the heads."""

from __future__ import annotations

from attnlab.attention.parts import Position


class NoPosition(Position):
    """The mechanism does not know."""
