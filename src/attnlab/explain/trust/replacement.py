"""Does the map decide? Replace it and count the answers that change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.probes.tap import Given, MapChange, Permuted, uniform
from attnlab.explain.subject import Subject
from attnlab.explain.trust import changed_maps
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
    """Random orders of the weights, medians over many (Jain & Wallace 2019)."""
    medians: list[Tensor] = []
    changes: list[Tensor] = []
    for number, subject in enumerate(subjects):
        own, change = subject.outcomes(), Permuted(seed=number)
        moved: list[Tensor] = []
        differs: list[Tensor] = []
        with changed_maps.inputs_read_once(subject):
            for _ in range(times):
                other = changed_maps.under(subject, change)
                moved.append(subject.task.distance(own, other))
                differs.append(changed_maps.changed(own, other, subject).double())
        median = torch.stack(moved).median(0).values  # batch x queries
        medians.append(changed_maps.mean_decision(median, subject))
        changes.append(torch.stack(differs).mean(0))
    share, distance = over_examples(changes), over_examples(medians)
    who = who_decides(share.mean)
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

    def verdict(share: float) -> str:
        return (
            f"Replacing this map by a uniform one changes {percent(share)} of the answers: "
            f"{who_decides(share)}."
        )

    return _replaced(subjects, lambda _: uniform, "uniform", verdict)


def frozen_maps(subjects: Sequence[Subject]) -> list[Finding]:
    """One map for all examples: the mean of theirs at each position.

    Where answers stay the same, the map may decide, but depends on positions alone.
    """
    mean = mean_map(subjects)

    def verdict(share: float) -> str:
        little = share < LITTLE
        says = "the map need not depend on the input" if little else "the map depends on the input"
        return (
            f"Freezing this map to the mean of all examples changes {percent(share)} of the "
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
        own = changed_maps.own_maps(subject)
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
    own = changed_maps.own_maps(subject)
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
        other = changed_maps.under(subject, makes(subject))
        changes.append(changed_maps.changed(own, other, subject))
        moved = subject.task.distance(own, other)
        distances.append(changed_maps.mean_decision(moved, subject))
    share = over_examples(changes)
    return [
        Finding(test, "answers changed", share, verdict(share.mean)),
        Finding(test, "change of the output", over_examples(distances)),
    ]
