"""`Unwatched`: a part of a forward pass that nobody sees or changes; and whether anybody does."""

from __future__ import annotations

from torch import nn

from attnlab.attention.mechanism import Attachments
from attnlab.attention.probes.selectors import sites


def watched(module: nn.Module) -> bool:
    """Whether anybody sees or changes maps of this module now."""
    attached = [attention.attached for attention in sites(module).values()]
    return any(each.watchers or each.transforms for each in attached)


class Unwatched:
    """While open, the attentions of a module have no taps, probes or interventions.

    For a module that serves twice in one pass, where the maps of one time are meant.
    """

    def __init__(self, module: nn.Module) -> None:
        self.attentions = list(sites(module).values())
        self.kept: list[Attachments] = []

    def __enter__(self) -> Unwatched:
        self.kept = [attention.attached for attention in self.attentions]
        for attention in self.attentions:
            attention.attached = Attachments([], [])
        return self

    def __exit__(self, *error: object) -> None:
        for attention, attached in zip(self.attentions, self.kept, strict=True):
            attention.attached = attached
