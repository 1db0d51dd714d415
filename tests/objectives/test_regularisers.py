"""Losses that need no gold, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnlab.data.target_batch import collate_targets
from attnlab.objectives.regularisers import Coverage, Entropy, Guided, Sparsity
from tests.maps import random_batch

SHARED = {"site": "pooling"}
EVERY = [
    Guided(width=0.2, **SHARED),
    Entropy(seek="focused", **SHARED),
    Entropy(seek="spread", **SHARED),
    Sparsity(power=0.5, continuity=1.0, **SHARED),
    Coverage(**SHARED),
]


def all_shapes(shapes, queries, keys):
    return collate_targets([None] * len(shapes), queries, keys, shapes=shapes)


def log_map(target, seed=0):
    logits = torch.randn(*target.weights.shape, generator=torch.Generator().manual_seed(seed))
    return logits.masked_fill(~target.keys(), -torch.inf).log_softmax(-1)[:, None]


def test_guided_is_the_weighted_sum_over_rows_that_exist():
    shapes = [(3, 5), (4, 2)]
    target = all_shapes(shapes, 6, 7)
    log_weights, width = log_map(target), 0.2
    rows = []
    for b, (queries, keys) in enumerate(shapes):
        for n in range(queries):
            penalties = [
                1 - math.exp(-((n / queries - t / keys) ** 2) / (2 * width**2)) for t in range(keys)
            ]
            rows.append(np.dot(log_weights[b, 0, n, :keys].exp().numpy(), penalties))
    loss = Guided(width=width, **SHARED).compare(log_weights, target)
    assert loss.value.item() == pytest.approx(np.mean(rows), rel=1e-5)
    assert loss.count.item() == 7


def test_entropy_counts_rows_without_gold():
    target = all_shapes([(2, 4)], 3, 6)
    weights = log_map(target).exp()[0, 0, :2, :4].double().numpy()
    expected = np.mean([-(row * np.log(row)).sum() for row in weights])
    focused = Entropy(seek="focused", **SHARED).compare(log_map(target), target).value.item()
    spread = Entropy(seek="spread", **SHARED).compare(log_map(target), target).value.item()
    assert focused == pytest.approx(expected, rel=1e-5)
    assert spread == pytest.approx(-expected, rel=1e-5)


def test_coverage_is_the_mass_where_earlier_rows_had_put_it():
    target = all_shapes([(3, 4)], 4, 6)
    weights = log_map(target).exp()[0, 0, :3, :4].double().numpy()
    overlaps = [np.minimum(weights[i], weights[:i].sum(0)).sum() for i in range(3)]
    loss = Coverage(**SHARED).compare(log_map(target), target)
    assert loss.value.item() == pytest.approx(np.mean(overlaps), rel=1e-5)


def test_sparsity_is_size_and_steps_between_visible_neighbours():
    target = all_shapes([(1, 4)], 1, 6)
    row = log_map(target).exp()[0, 0, 0, :4].double().numpy()
    expected = np.sqrt(row).sum() + 0.5 * np.abs(np.diff(row)).sum()
    loss = Sparsity(power=0.5, continuity=0.5, **SHARED).compare(log_map(target), target)
    assert loss.value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: type(o).__name__)
def test_gradients_are_finite_beside_masked_keys(objective):
    target = random_batch(0)
    logits = torch.randn(len(target.weights), 2, *target.weights.shape[1:], requires_grad=True)
    masked = logits.masked_fill(~target.key_mask[:, None, None], -torch.inf)
    objective.compare(masked.log_softmax(-1), target).value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


def test_descent_on_guided_attention_finds_the_diagonal():
    target = all_shapes([(10, 10)], 10, 10)
    logits = torch.zeros(1, 1, 10, 10, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(100):
        optimizer.zero_grad()
        Guided(width=0.1, **SHARED).compare(logits.log_softmax(-1), target).value.backward()
        optimizer.step()
    assert logits[0, 0].argmax(-1).tolist() == list(range(10))
