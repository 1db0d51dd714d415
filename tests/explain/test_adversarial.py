"""Adversarial maps: what is found is possible, and near the best that there is."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon

from attnlab.attention.taps import Given
from attnlab.config.evaluation import Adversary
from attnlab.explain import adversarial, changed_maps
from attnlab.metrics.agreement import jensen_shannon
from tests.explain.subjects import subject

SETTINGS = Adversary(steps=150, rate=0.1, epsilon=0.05)


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
