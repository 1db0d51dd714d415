"""Controls: legal maps, the oracle on top, and a position prior that knows only positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.metrics.agreement import MassOnGold
from attnlab.metrics.controls import (
    KeyFrequency,
    PositionPrior,
    controls,
    one_against_others,
)
from attnlab.metrics.rationale import AveragePrecision
from tests.maps import random_batch, random_target


@pytest.mark.parametrize("kind", ["hard", "soft", "sure_possible"])
def test_every_control_is_a_distribution_over_visible_keys(kind):
    target = random_batch(1, kind)
    random = np.random.default_rng(7)
    prior = PositionPrior.fit(random_target(random, kind) for _ in range(20))
    units = [[f"w{i}" for i in range(int(n))] for n in target.key_mask.sum(-1) + 1]
    made = controls(target, prior, KeyFrequency.fit(units), units)
    assert set(made) == {"uniform", "random", "permuted", "oracle", "position", "frequency"}
    for name, weights in made.items():
        sums = weights.sum(-1)
        assert torch.allclose(sums[target.row_mask], torch.ones(1).double()), name
        assert not weights[~target.keys()].any(), name
        assert not weights[~target.row_mask].any(), name


def test_the_oracle_is_perfect_and_no_control_comes_near():
    target = random_batch(5, examples=40)
    scores = {}
    for name, weights in controls(target).items():
        metric = AveragePrecision()
        metric.update(weights, target)
        scores[name] = metric.compute()["average_precision"]
    assert scores["oracle"] == 1.0
    assert all(score < 0.75 for name, score in scores.items() if name != "oracle"), scores


def test_random_controls_repeat_with_their_seed():
    target = random_batch(2)
    first, again, other = (controls(target, seed=s)["random"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def diagonal(length: int) -> AttentionTarget:
    weights = np.eye(length, dtype=np.float32)
    return AttentionTarget(weights, np.ones(length, bool), np.ones(length, bool))


def test_a_position_prior_learns_the_diagonal_whatever_the_lengths():
    prior = PositionPrior.fit(diagonal(n) for n in range(5, 20))
    target = collate_targets([diagonal(8), diagonal(13)], 13, 13)
    scores = {}
    for name, weights in controls(target, prior).items():
        metric = MassOnGold()
        metric.update(weights, target)
        scores[name] = metric.compute()["mass_on_gold"]
    assert scores["position"] > 3 * scores["uniform"]


def test_a_permuted_map_belongs_to_another_example():
    first, second = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
    first[0, 0] = second[0, 3] = 1
    on = np.ones(1, bool), np.ones(4, bool)
    target = collate_targets([AttentionTarget(first, *on), AttentionTarget(second, *on)], 1, 4)
    permuted = controls(target)["permuted"]
    assert permuted[0, 0].argmax() == 3
    assert permuted[1, 0].argmax() == 0


def test_rare_units_draw_the_frequency_control():
    frequency = KeyFrequency.fit([["the", "the", "the", "cat"]])
    weights = np.ones((1, 2), np.float32)
    target = collate_targets([AttentionTarget(weights, np.ones(1, bool), np.ones(2, bool))], 1, 2)
    made = frequency.weights(target, [["the", "cat"]])
    assert made[0, 0].tolist() == pytest.approx([1 / 3, 2 / 3])  # 1/4 against 1/2


def test_each_annotator_is_compared_with_the_others():
    """Two agree, and the third marks one of two keys elsewhere; the fourth marks nothing."""
    marks = np.array([[[1, 1, 0, 0]], [[1, 1, 0, 0]], [[1, 0, 1, 0]], [[0, 0, 0, 0]]], np.float32)
    on = np.ones(1, bool), np.ones(4, bool)
    four = AttentionTarget(marks.mean(0), *on, kind="soft", annotators=tuple(marks))
    alone = AttentionTarget(marks[0], *on)
    pairs = list(one_against_others([None, four, alone]))
    assert len(pairs) == 4
    for number, (weights, gold) in enumerate(pairs):
        others = np.delete(marks, number, 0)
        torch.testing.assert_close(gold.weights[0], torch.from_numpy(others.mean(0)))
        assert gold.query_mask.tolist() == [[number < 3]]
        own = torch.from_numpy(marks[number]).double()
        torch.testing.assert_close(weights[0], own / own.sum().clamp_min(1))
    metric = MassOnGold()
    for weights, gold in pairs:
        metric.update(weights, gold)
    expected = (1 + 1 + 1 / 2) / 3  # where two agree, gold of the others is the union
    assert metric.compute()["mass_on_gold"] == pytest.approx(expected)
    assert not list(one_against_others([None, alone]))
