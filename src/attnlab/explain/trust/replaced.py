"""Does the map decide? Put another one in its place and see which answers change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.probes.map_changes import Given, MapChange, Permuted, uniform
from attnlab.explain.subject import Subject
from attnlab.explain.trust import decided
from attnlab.explain.trust.findings import (
    LITTLE,
    Finding,
    over_examples,
    percent,
    who_decides,
)

Makes = Callable[[Subject], MapChange]


@torch.no_grad()
def permutation(subjects: Sequence[Subject], times: int) -> list[Finding]:
    """Weights in random order, many times over (Jain & Wallace 2019)."""
    medians: list[Tensor] = []
    changes: list[Tensor] = []
    for number, subject in enumerate(subjects):
        own, change = subject.outcomes(), Permuted(seed=number)
        moved: list[Tensor] = []
        differs: list[Tensor] = []
        with decided.remembered(subject):
            for _ in range(times):
                other = decided.under(subject, change)
                moved.append(subject.task.distance(own, other))
                differs.append(decided.changed(own, other, subject).double())
        median = torch.stack(moved).median(0).values  # batch x queries
        medians.append(decided.mean_decision(median, subject))
        changes.append(torch.stack(differs).mean(0))
    share, distance = over_examples(changes), over_examples(medians)
    who = who_decides(share.mean)
    return [
        Finding(
            "permuted",
            "answers changed",
            share,
            f"Putting this map's weights in random order changes {percent(share.mean)} of the "
            f"answers: {who}.",
        ),
        Finding(
            "permuted",
            "median change of the output",
            distance,
        ),
    ]


def uniform_maps(subjects: Sequence[Subject]) -> list[Finding]:
    """Every unit alike (Wiegreffe & Pinter 2019)."""

    def verdict(share: float) -> str:
        return (
            f"Replacing this map by a uniform one changes {percent(share)} of the answers: "
            f"{who_decides(share)}."
        )

    return _replaced(subjects, lambda _: uniform, "uniform", verdict)


def frozen_maps(subjects: Sequence[Subject]) -> list[Finding]:
    """One map for all examples: the mean of theirs, place by place.

    Where it does as well, the map may decide and yet be a matter of place, blind to the input.
    """
    mean = mean_map(subjects)

    def verdict(share: float) -> str:
        little = share < LITTLE
        says = "the map need not see the input" if little else "the map follows the input"
        return (
            f"Freezing this map to the mean of all examples changes {percent(share)} of the "
            f"answers: {says}."
        )

    return _replaced(subjects, lambda subject: frozen(subject, mean), "frozen", verdict)


@torch.no_grad()
def mean_map(subjects: Sequence[Subject]) -> Tensor:
    """Heads x queries x keys: the mean weight of each place, over the examples that have it."""
    queries = max(subject.decisions.shape[1] for subject in subjects)
    keys = max(subject.keys.shape[1] for subject in subjects)
    sums: Tensor | None = None
    counts: Tensor | None = None
    for subject in subjects:
        own = decided.own_maps(subject)
        real = subject.decisions[:, None, :, None] & own.allowed
        margin = (0, keys - real.shape[3], 0, queries - real.shape[2])
        total, count = pad((own.weights * real).sum(0), margin), pad(real.sum(0), margin)
        sums = total if sums is None else sums + total
        counts = count if counts is None else counts + count
    assert sums is not None
    assert counts is not None
    return sums / counts.clamp_min(1)


def frozen(subject: Subject, mean: Tensor) -> Given:
    """The mean map for these examples, with as much weight in each row as the model gives."""
    own = decided.own_maps(subject)
    rows, keys = own.weights.shape[2:]
    some = mean[None, :, :rows, :keys] * own.allowed
    share = some / some.sum(-1, keepdim=True).clamp_min(1e-30)
    return Given(share * own.weights.sum(-1, keepdim=True))


@torch.no_grad()
def _replaced(
    subjects: Sequence[Subject], makes: Makes, test: str, verdict: Callable[[float], str]
) -> list[Finding]:
    changes: list[Tensor] = []
    distances: list[Tensor] = []
    for subject in subjects:
        own = subject.outcomes()
        other = decided.under(subject, makes(subject))
        changes.append(decided.changed(own, other, subject))
        moved = subject.task.distance(own, other)
        distances.append(decided.mean_decision(moved, subject))
    share = over_examples(changes)
    return [
        Finding(test, "answers changed", share, verdict(share.mean)),
        Finding(test, "change of the output", over_examples(distances)),
    ]
