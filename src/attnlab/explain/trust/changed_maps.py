"""Decisions under a changed map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Intervention
from attnlab.attention.probes.tap import MapChange
from attnlab.explain.methods.gradients import joined
from attnlab.explain.subject import Subject, reader_of
from attnlab.models.memory import Reading


class OwnMaps(NamedTuple):
    """The model's own maps, and where they may be other than zero."""

    weights: Tensor  # batch x heads x queries x keys
    allowed: Tensor  # the same shape, bool


@torch.no_grad()
def own_maps(subject: Subject) -> OwnMaps:
    """The maps behind the model's answers."""
    weights: list[Tensor] = []
    allowed: list[Tensor] = []

    def keep(taken: Tensor, where: Tensor | None) -> Tensor:
        weights.append(taken)
        full = torch.ones_like(taken, dtype=torch.bool)
        allowed.append(full if where is None else full & where)
        return taken

    with Intervention(subject.model, subject.site, keep):
        subject.outcomes()
    return OwnMaps(joined(weights), joined(allowed))


def under(subject: Subject, change: MapChange) -> Tensor:
    """What the decisions are made from, with the map changed: batch x decisions x width."""
    with Intervention(subject.model, subject.site, change):
        return subject.outcomes()


def changed(one: Tensor, other: Tensor, subject: Subject) -> Tensor:
    """Whether any decision of an example is another one: batch, bool."""
    differs = subject.task.differs(one, other)
    return (differs & subject.decisions).any(1)


def mean_decision(values: Tensor, subject: Subject) -> Tensor:
    """The mean over each example's real decisions: batch x queries -> batch."""
    real = subject.decisions
    return (values * real).sum(1) / real.sum(1).clamp_min(1)


@contextmanager
def inputs_read_once(subject: Subject) -> Iterator[None]:
    """Read the input once, for many passes that change only a map above the encoder."""
    if subject.site.startswith("encoder"):
        yield
        return
    reader = reader_of(subject.model)
    with torch.no_grad():
        reading = reader(subject.batch)
    subject.model.reader = _Read(reader, reading)
    try:
        yield
    finally:
        subject.model.reader = reader


class _Read(nn.Module):
    """Placeholder that replaces the reader by its output."""

    def __init__(self, reader: nn.Module, reading: Reading) -> None:
        super().__init__()
        self.reader, self.reading = reader, reading
        self.attended = reader.attended

    def forward(self, batch: object) -> Reading:
        return self.reading
