"""Adversarial maps: what is found is possible, and near the best that there is."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from attnlab.attention.taps import Given
from attnlab.config.evaluation import AdversarialTraining, Adversary
from attnlab.explain import adversarial, changed_maps
from attnlab.explain.adversarial import divergence_limit, other_model, train_adversary
from attnlab.metrics.agreement import jensen_shannon
from tests.explain import constructed
from tests.explain.subjects import subject

SETTINGS = Adversary(steps=150, rate=0.1, epsilon=0.05)

# At this rate the adversary of an idle map changes no answer (AVX2, seeds 0 to 3); at 0.01 its last
# steps are noisy, and it changes up to 15 %.
TRAINING = AdversarialTraining(steps=300, rate=0.005, divergence=1.0)


def test_divergence_is_scipys() -> None:
    random = np.random.default_rng(0)
    one, other = random.dirichlet(np.ones(6), size=(2, 5))
    ours = jensen_shannon(torch.from_numpy(one), torch.from_numpy(other))
    theirs = [jensenshannon(p, q) ** 2 for p, q in zip(one, other, strict=True)]
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-9)


def test_the_search_finds_what_a_grid_finds() -> None:
    """Two keys, one decision: every map is one number, and all of them can be tried."""
    explained = subject("recurrent classify", (2, 2, 2))
    with torch.no_grad():
        explained.model.output.weight.mul_(8.0)  # type: ignore[union-attr, operator]
    own = changed_maps.own_maps(explained).weights
    before = explained.outcomes().detach()
    best = torch.zeros(3, dtype=torch.double)
    for share in np.linspace(0, 1, 2001):
        map_ = torch.tensor([share, 1 - share]).expand_as(own)
        with torch.no_grad():
            moved = explained.task.distance(before, changed_maps.under(explained, Given(map_)))[
                :, 0
            ]
        apart = jensen_shannon(map_, own)[:, 0, 0]
        best = torch.where((moved <= 0.05) & (apart > best), apart, best)
    found = adversarial.divergence_reached(explained, SETTINGS)
    assert (found <= best + 1e-4).all()
    assert (found > 0.8 * best).all()


def test_no_map_is_farther_than_the_limit() -> None:
    explained = subject("transformer generate")
    limit = adversarial.divergence_limit(explained)
    assert (limit <= math.log(2)).all()
    own = changed_maps.own_maps(explained)
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        logits = 5 * torch.randn(own.weights.shape, generator=random, dtype=torch.double)
        maps = logits.masked_fill(~own.allowed, -1e9).softmax(-1)
        apart = jensen_shannon(maps, own.weights).mean(1)
        assert (changed_maps.mean_decision(apart, explained) <= limit).all()


def test_the_model_is_left_as_it_was() -> None:
    explained = subject("recurrent generate")
    before = [p.clone() for p in explained.model.parameters()]
    adversarial.divergence_reached(explained, SETTINGS)
    for parameter, old in zip(explained.model.parameters(), before, strict=True):
        assert parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, old)


@pytest.mark.parametrize("kind", constructed.KINDS)
def test_where_the_map_cannot_matter_the_limit_is_reached(kind: str) -> None:
    explained, _ = constructed.subject(kind, deciding=False, count=10)
    reached = adversarial.divergence_reached(explained, SETTINGS)
    assert (reached > 0.98 * adversarial.divergence_limit(explained)).all()


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
    train_adversary(explained.task, explained.model, twin, itertools.repeat(batch), TRAINING)
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
    one_step = TRAINING.model_copy(update={"steps": 1})
    train_adversary(explained.task, explained.model, twin, itertools.repeat(batch), one_step)
    for parameter, old in zip(explained.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
