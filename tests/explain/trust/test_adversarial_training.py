"""A second model that looks elsewhere: possible where the map does not matter."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from attnlab.config.explain import AdversarialTraining
from attnlab.explain.trust.adversarial_maps import divergence_limit
from attnlab.explain.trust.adversarial_training import other_model, train_adversary
from tests.explain.trust import constructed

# Long enough that the adversary of an idle map changes 1 % of the answers, far from the limit
# below, whatever the CPU's instructions (tried: AVX-512, AVX2 alone) and the seed (tried: three).
SETTINGS = AdversarialTraining(steps=300, rate=0.01, divergence=1.0)


@pytest.mark.parametrize("kind", constructed.KINDS)
def test_an_adversary_comes_far_at_no_cost_only_where_the_map_is_idle(kind: str) -> None:
    idle_share, idle_changed = trained_adversary(kind, deciding=False)
    assert idle_share > 0.6
    assert idle_changed < 0.1
    share, changed = trained_adversary(kind, deciding=True)
    assert share * (1 - changed) < idle_share * (1 - idle_changed) - 0.15


def trained_adversary(kind: str, deciding: bool, seed: int = 0) -> tuple[float, float]:
    """How far its maps are, as a share of what is possible, and the share of answers it changes."""
    explained, batch = constructed.subject(kind, deciding)
    twin = _twin(explained.model, seed)
    train_adversary(explained.task, explained.model, twin, itertools.repeat(batch), SETTINGS)
    divergence, answers = other_model([explained], twin)
    possible = float(divergence_limit(explained).mean())
    return divergence.value.mean / possible, answers.value.mean


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
