"""Decisions under a changed map: a permuted, uniform or frozen one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from attnlab.attention.taps import Given, Intervention, MapChange, Permuted, uniform
from attnlab.explain.findings import (
    LITTLE,
    Finding,
    over_examples,
    percent,
    share_over_examples,
    who_decides,
)
from attnlab.explain.methods.gradients import joined
from attnlab.explain.subject import Subject, reader_of
from attnlab.metrics.figures import Interval
from attnlab.models.memory import Reading

Makes = Callable[[Subject], MapChange]


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


@torch.no_grad()
def permutation(subjects: Sequence[Subject], times: int) -> list[Finding]:
    """Random orders of the weights, medians over many (Jain & Wallace 2019)."""
    medians: list[Tensor] = []
    changes: list[Tensor] = []
    for number, subject in enumerate(subjects):
        own, change = subject.outcomes(), Permuted(seed=number)
        moved: list[Tensor] = []
        differs: list[Tensor] = []
        with inputs_read_once(subject):
            for _ in range(times):
                other = under(subject, change)
                moved.append(subject.task.distance(own, other))
                differs.append(changed(own, other, subject).double())
        median = torch.stack(moved).median(0).values  # batch x queries
        medians.append(mean_decision(median, subject))
        changes.append(torch.stack(differs).mean(0))
    share, distance = share_over_examples(changes), over_examples(medians)
    who = who_decides(share)
    return [
        Finding(
            "permuted",
            "answers changed",
            share,
            f"A random order of this map's weights changes {percent(share.mean)} of the "
            f"answers: {who}.",
        ),
        Finding(
            "permuted",
            "median change of the output",
            distance,
        ),
    ]


def uniform_maps(subjects: Sequence[Subject]) -> list[Finding]:
    """Equal weights for all units (Wiegreffe & Pinter 2019)."""

    def verdict(share: Interval) -> str:
        return (
            f"Replacing this map by a uniform one changes {percent(share.mean)} of the answers: "
            f"{who_decides(share)}."
        )

    return _replaced(subjects, lambda _: uniform, "uniform", verdict)


def frozen_maps(subjects: Sequence[Subject]) -> list[Finding]:
    """One map for all examples: the mean of theirs at each position.

    Where answers stay the same, the map may decide, but depends on positions alone.
    """
    mean = mean_map(subjects)

    def verdict(share: Interval) -> str:
        says = "the map depends on the input"
        if share.low < LITTLE:
            little = share.high < LITTLE
            says = (
                "the map need not depend on the input" if little else f"it is open whether {says}"
            )
        return (
            f"Freezing this map to the mean of all examples changes {percent(share.mean)} of the "
            f"answers: {says}."
        )

    return _replaced(subjects, lambda subject: frozen(subject, mean), "frozen", verdict)


@torch.no_grad()
def mean_map(subjects: Sequence[Subject]) -> Tensor:
    """The mean weight of each cell over the examples that have it: heads x queries x keys."""
    queries = max(subject.decisions.shape[1] for subject in subjects)
    keys = max(subject.keys.shape[1] for subject in subjects)
    sums: Tensor | None = None
    counts: Tensor | None = None
    for subject in subjects:
        own = own_maps(subject)
        real = subject.decisions[:, None, :, None] & own.allowed
        margin = (0, keys - real.shape[3], 0, queries - real.shape[2])
        total, count = pad((own.weights * real).sum(0), margin), pad(real.sum(0), margin)
        sums = total if sums is None else sums + total
        counts = count if counts is None else counts + count
    assert sums is not None
    assert counts is not None
    return sums / counts.clamp_min(1)


def frozen(subject: Subject, mean: Tensor) -> Given:
    """The mean map for these examples; each row keeps its sum of weights."""
    own = own_maps(subject)
    rows, keys = own.weights.shape[2:]
    some = mean[None, :, :rows, :keys] * own.allowed
    share = some / some.sum(-1, keepdim=True).clamp_min(1e-30)
    return Given(share * own.weights.sum(-1, keepdim=True))


@torch.no_grad()
def _replaced(
    subjects: Sequence[Subject], makes: Makes, test: str, verdict: Callable[[Interval], str]
) -> list[Finding]:
    changes: list[Tensor] = []
    distances: list[Tensor] = []
    for subject in subjects:
        own = subject.outcomes()
        other = under(subject, makes(subject))
        changes.append(changed(own, other, subject))
        moved = subject.task.distance(own, other)
        distances.append(mean_decision(moved, subject))
    share = share_over_examples(changes)
    return [
        Finding(test, "answers changed", share, verdict(share)),
        Finding(test, "change of the output", over_examples(distances)),
    ]
