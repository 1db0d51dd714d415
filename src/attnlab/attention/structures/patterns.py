"""Structures that are a rule over positions, and so become part of the mask."""

from __future__ import annotations

from attnlab.attention.mask import Causal, Pattern
from attnlab.attention.parts import Structure


class Global(Structure):
    """Every key."""


class CausalStructure(Structure):
    """No key after the query."""

    def patterns(self) -> tuple[Pattern, ...]:
        return (Causal(),)
