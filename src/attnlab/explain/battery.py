"""All tests of a map, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnlab.config.evaluation import Trust
from attnlab.explain.adversarial import adversarial_maps
from attnlab.explain.changed_maps import frozen_maps, permutation, uniform_maps
from attnlab.explain.erasure import OWN, RANDOM, Curves, erasure
from attnlab.explain.findings import Finding, percent, who_decides
from attnlab.explain.limits import normalised
from attnlab.explain.rankings import Cascade, importance, randomisation
from attnlab.explain.subject import Subject

Named = Mapping[str, Tensor]  # by name: batch x queries x keys
TESTS = (
    "permuted maps",
    "uniform maps",
    "frozen maps",
    "adversarial maps",
    "erasure",
    "limits of erasure",
    "importance",
    "shuffled weights",
)


@dataclass
class Report:
    """The findings of all tests."""

    findings: list[Finding] = field(default_factory=list)
    curves: dict[str, Curves] = field(default_factory=dict)
    cascade: Cascade = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Whether the map decides, from the milder of two uninformed maps."""
        shares = {f.test: f.value for f in self.findings if f.figure == "answers changed"}
        least = min(("permuted", "uniform"), key=lambda name: shares[name].mean)
        return (
            f"A {least} map in place of the model's changes {percent(shares[least].mean)} of the "
            f"answers: {who_decides(shares[least])}."
        )

    def plain(self) -> dict[str, Any]:
        """For trust.json."""
        return {
            "verdict": self.verdict,
            "tests": [
                {
                    "test": f.test,
                    "figure": f.figure,
                    "value": f.value.mean,
                    "low": f.value.low,
                    "high": f.value.high,
                    "undefined": f.undefined,
                    "known": f.known,
                    "verdict": f.verdict,
                }
                for f in self.findings
            ],
            "curves": self.curves,
            "cascade": [{"part": part, "rank correlation": value} for part, value in self.cascade],
        }


def battery(
    subjects: Sequence[Subject],
    scores: Sequence[Named],
    orders: Sequence[Named],
    settings: Trust,
    say: Callable[[str], None] = lambda test: None,
) -> Report:
    """Run every test.

    Args:
        subjects: the examples, in batches.
        scores: explanations of each subject by method, the map among them as `attention`.
        orders: further orders of erasure of each subject, such as controls.
        settings: of the tests.
        say: called with the name of each test as it begins.
    """
    report = Report()
    random = [{RANDOM: torch.zeros_like(named[OWN])} for named in scores]
    followed = [
        {OWN: named[OWN], **same, **more}
        for named, same, more in zip(scores, random, orders, strict=True)
    ]

    def erased() -> list[Finding]:
        sizes = settings.fractions, settings.decisions
        findings, report.curves = erasure(subjects, followed, *sizes)
        return findings

    def shuffled() -> list[Finding]:
        findings, report.cascade = randomisation(subjects)
        return findings

    tests = (
        lambda: permutation(subjects, settings.permutations),
        lambda: uniform_maps(subjects),
        lambda: frozen_maps(subjects),
        lambda: adversarial_maps(subjects, settings.adversary),
        erased,
        lambda: normalised(subjects, followed, settings.limits, settings.beam),
        lambda: importance(subjects, scores),
        shuffled,
    )
    for name, test in zip(TESTS, tests, strict=True):
        say(name)
        report.findings += test()
    return report
