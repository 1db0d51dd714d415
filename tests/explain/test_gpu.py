"""Explanations and tests of the map are the same on a CUDA device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnlab.config.evaluation import Adversary
from attnlab.explain.adversarial import divergence_reached
from attnlab.explain.changed_maps import frozen_maps, permutation, uniform_maps
from attnlab.explain.methods import explained, methods
from attnlab.explain.rankings import randomisation
from attnlab.explain.subject import Subject
from tests.explain.methods.test_maps import settings
from tests.explain.subjects import CASES, subject

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def on_cuda(case: str) -> Subject:
    asked = subject(case)
    answer = asked.batch.answer
    moved = Subject.of(
        asked.model.to("cuda"), asked.task, asked.batch.to("cuda"), asked.batch.to("cuda").answer
    )
    assert moved.decisions.sum() == answer.mask.sum()
    return replace(moved, at_once=7)


@pytest.mark.parametrize("case", CASES)
def test_explanations_are_those_of_the_cpu(case: str) -> None:
    known = methods(settings())
    expected = {name: explained(method, subject(case)) for name, method in known.items()}
    for name, method in known.items():
        found = explained(method, on_cuda(case)).cpu()
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("case", ["recurrent generate", "transformer classify"])
def test_findings_are_those_of_the_cpu(case: str) -> None:
    search = Adversary(steps=5, rate=0.1, epsilon=0.05)
    figures = []
    for asked in (subject(case), on_cuda(case)):
        found = [*permutation([asked], 3), *uniform_maps([asked]), *frozen_maps([asked])]
        found += randomisation([asked])[0]
        reached = float(divergence_reached(asked, search).mean())
        figures.append([*(f.value.mean for f in found), reached])
    assert figures[0] == pytest.approx(figures[1], abs=1e-4)
