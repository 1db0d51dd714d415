"""Does the map rank units as gradients and erasure do? (Jain & Wallace 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from attnlab.explain.agreement import interval_of, magnitude_taus
from attnlab.explain.subject import Subject
from attnlab.explain.trust.erasure import OWN
from attnlab.explain.trust.findings import Finding
from attnlab.metrics.intervals import Interval

MEASURES = ("gradient_input", "integrated_gradients", "leave_one_out")
CALLED = {
    "gradient_input": "gradient x input",
    "integrated_gradients": "integrated gradients",
    "leave_one_out": "leaving one out",
}


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
    little = value.mean < known["between the measures"] / 2
    says = "its weights say little about importance" if little else "its weights go with importance"
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
