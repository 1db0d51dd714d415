"""A second model that looks elsewhere: possible where the map does not matter."""

from __future__ import annotations

import copy
import itertools
import statistics

import pytest
import torch
from torch import nn

from attnlab.config.explain import AdversarialTraining
from attnlab.explain.trust.adversarial_training import other_model, train_adversary
from attnlab.explain.trust.adversary import divergence_limit
from tests.explain.trust import constructed

SETTINGS = AdversarialTraining(steps=150, rate=0.01, divergence=1.0)


@pytest.mark.parametrize("kind", constructed.KINDS)
def test_where_the_map_decides_looking_elsewhere_costs_answers_or_comes_less_far(kind: str) -> None:
    share, changed = {}, {}
    for deciding in (True, False):
        share[deciding], changed[deciding] = trained_away(kind, deciding)
    assert share[False] > 0.4
    assert changed[False] < 0.1
    assert share[True] < share[False] - 0.2 or changed[True] > changed[False] + 0.2


def trained_away(kind: str, deciding: bool) -> tuple[float, float]:
    """How far adversaries look elsewhere, in parts of what is possible, and which share of answers
    it costs: means of two, since one may come further than the other."""
    explained, batch = constructed.subject(kind, deciding)
    share, changed = [], []
    for seed in range(2):
        twin = _twin(explained.model, seed)
        batches = itertools.repeat(batch)
        train_adversary(explained.task, explained.model, twin, batches, SETTINGS)
        divergence, answers = other_model([explained], twin)
        share.append(divergence.value.mean / float(divergence_limit(explained).mean()))
        changed.append(answers.value.mean)
    return statistics.mean(share), statistics.mean(changed)


def _twin(model: nn.Module, seed: int) -> nn.Module:
    """Nearly the same: as if it had learned the task. From equal maps no slope would lead away."""
    torch.manual_seed(seed)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return twin


def test_the_first_model_is_left_as_it_was() -> None:
    explained, batch = constructed.subject("recurrent", deciding=False)
    before = [p.clone() for p in explained.model.parameters()]
    twin = copy.deepcopy(explained.model)
    one_step = SETTINGS.model_copy(update={"steps": 1})
    train_adversary(explained.task, explained.model, twin, itertools.repeat(batch), one_step)
    for parameter, old in zip(explained.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
