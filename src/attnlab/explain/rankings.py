"""Do maps rank units as gradients and erasure do, and does the ranking depend on the weights?"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.explain.erasure import OWN
from attnlab.explain.findings import Finding, interval_of, magnitude_taus
from attnlab.explain.methods.maps import attention
from attnlab.explain.subject import Subject
from attnlab.metrics.agreement import spearman
from attnlab.metrics.figures import Interval

MEASURES = ("gradient_input", "integrated_gradients", "leave_one_out")
CALLED = {
    "gradient_input": "gradient x input",
    "integrated_gradients": "integrated gradients",
    "leave_one_out": "leaving one out",
}

Cascade = list[tuple[str, float]]  # each shuffled part, and the rank correlation after it


def importance(
    subjects: Sequence[Subject], scores: Sequence[Mapping[str, Tensor]]
) -> list[Finding]:
    """Kendall's tau of the weights with each measure of importance.

    Beside it the tau of the measures with each other: the most that a map can be expected to reach.
    """
    between = [
        _tau(subjects, scores, one, other)[0].mean
        for i, one in enumerate(MEASURES)
        for other in MEASURES[i + 1 :]
    ]
    known = {"between the measures": sum(between) / len(between)}
    return [_finding(subjects, scores, measure, known) for measure in MEASURES]


def _finding(
    subjects: Sequence[Subject],
    scores: Sequence[Mapping[str, Tensor]],
    measure: str,
    known: dict[str, float],
) -> Finding:
    value, undefined = _tau(subjects, scores, OWN, measure)
    half = known["between the measures"] / 2
    says = "its weights go with importance"
    if value.low < half:
        little = "its weights say little about importance"
        says = little if value.high < half else "whether they say much about importance is open"
    return Finding(
        f"tau with {CALLED[measure]}",
        "Kendall's tau",
        value,
        f"The map ranks units as {CALLED[measure]} does with a tau of {value.mean:.2f} (the "
        f"measures among themselves: {known['between the measures']:.2f}): {says}.",
        known,
        undefined,
    )


def _tau(
    subjects: Sequence[Subject], scores: Sequence[Mapping[str, Tensor]], one: str, other: str
) -> tuple[Interval, int]:
    taus: list[float] = []
    undefined = 0
    for subject, named in zip(subjects, scores, strict=True):
        means, missing = magnitude_taus(named[one], named[other], subject)
        taus += means
        undefined += missing
    return interval_of(taus), undefined


def randomisation(subjects: Sequence[Subject]) -> tuple[list[Finding], Cascade]:
    """The rank correlation of maps before and after weights are shuffled, in all and part by part.

    Model parameter randomisation (Adebayo et al. 2018): a map that stays the same shows the input,
    not the model. Weights are shuffled from the output down to the input.
    """
    shuffled = copy.deepcopy(subjects[0].model)
    cascade: Cascade = []
    correlations: list[float] = []
    undefined = 0
    for name in _shuffle_parts(shuffled):
        rows = [rank_correlation(subject, shuffled) for subject in subjects]
        correlations = [value for values, _ in rows for value in values]
        undefined = sum(missing for _, missing in rows)
        cascade.append((name, interval_of(correlations).mean))
    value = interval_of(correlations)
    says = (
        "it shows the input more than what was learned"
        if value.mean > 0.5
        else "it shows what was learned"
    )
    finding = Finding(
        "shuffled weights",
        "rank correlation",
        value,
        f"With all weights shuffled, the map still goes with the one before by {value.mean:.2f} "
        f"(rank correlation): {says}.",
        undefined=undefined,
    )
    return [finding], cascade


@torch.no_grad()
def rank_correlation(subject: Subject, other: nn.Module) -> tuple[list[float], int]:
    """Spearman's correlation of the maps of two models for the same answers.

    Returns:
        The mean of each example, and the number of decisions without one, a map being constant.
    """
    again = replace(subject, model=other)
    values = spearman(attention(subject), attention(again), subject.cells)  # batch x queries
    defined = subject.decisions & ~values.isnan()
    total = torch.where(defined, values, 0.0).sum(1) / defined.sum(1)
    return total.tolist(), int((subject.decisions & values.isnan()).sum())


def _shuffle_parts(model: nn.Module) -> Iterator[str]:
    """Shuffle one part after the other, from the output down, and yield its name."""
    random = torch.Generator().manual_seed(0)
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(_part(name), []).append(parameter)
    for name in reversed(parts):
        with torch.no_grad():
            for parameter in parts[name]:
                order = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        yield name


def _part(parameter: str) -> str:
    """`reader.encoder.rnn.weight` belongs to `reader.encoder`, `output.bias` to `output`."""
    names = parameter.split(".")
    return ".".join(names[:2]) if names[0] == "reader" else names[0]
