"""Saliency metrics against scipy and plain loops written from their definitions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr

from attnlab.errors import UserError
from attnlab.metrics.agreement import JensenShannon, KullbackLeibler
from attnlab.metrics.controls import controls
from attnlab.metrics.saliency import (
    AucJudd,
    CorrelationCoefficient,
    InformationGain,
    Nss,
    Similarity,
    StretchedSimilarity,
)
from tests.maps import random_batch, random_maps

EPSILON = 2.2204e-16


def gaze_batch(seed):
    """Soft gold with fixation points, some pixels fixated twice."""
    target = random_batch(seed, "soft")
    random = np.random.default_rng(seed)
    points = torch.from_numpy(random.integers(0, 3, target.weights.shape)).float()
    points[..., 0] = 1
    return replace(target, points=points * target.keys())


def mean_over_rows(weights, target, value, rows=None):
    values = []
    rows = target.rows() if rows is None else rows
    for i, j in rows.nonzero().tolist():
        keep = target.key_mask[i].numpy()
        p, q, n = (
            matrix[i, j].double().numpy()[keep]
            for matrix in (weights, target.weights, target.points)
        )
        values.append(value(p / p.sum(), q / q.sum(), n))
    return np.mean(values)


def figure(metric, weights, target):
    metric.update(weights, target)
    return metric.compute()[metric.figures[0]]


def mit_kl(p, q, n):
    return sum(b * math.log(EPSILON + b / (a + EPSILON)) for a, b in zip(p, q, strict=True))


def mit_similarity(p, q, n):
    p, q = ((m - m.min()) / (m.max() - m.min()) for m in (p, q))
    return np.minimum(p / p.sum(), q / q.sum()).sum()


def z_score_at_points(p, q, n):
    z = (p - p.mean()) / p.std()
    return np.average(z, weights=n)


DEFINITIONS = [
    (KullbackLeibler, mit_kl),
    (JensenShannon, lambda p, q, n: jensenshannon(p, q) ** 2),
    (Similarity, lambda p, q, n: np.minimum(p, q).sum()),
    (StretchedSimilarity, mit_similarity),
    (CorrelationCoefficient, lambda p, q, n: pearsonr(p, q).statistic),
    (Nss, z_score_at_points),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("metric", "definition"), DEFINITIONS)
def test_figure_is_the_mean_of_its_definition(metric, definition, seed):
    target = gaze_batch(seed)
    weights = random_maps(seed, target)
    rows = None
    if metric is Nss:
        rows = target.query_mask & (target.points > 0).any(-1)
    expected = mean_over_rows(weights, target, definition, rows)
    assert figure(metric(), weights, target) == pytest.approx(expected, rel=1e-6)


def judd(saliency, points, random):
    """Judd's area, with random jitter to break ties."""
    order = np.lexsort((random.random(len(saliency)), -saliency))
    fixated = points[order] > 0
    hits, misses = np.cumsum(fixated), np.cumsum(~fixated)
    rate = [0, *(hits[fixated] / fixated.sum()), 1]
    alarms = [0, *(misses[fixated] / (~fixated).sum()), 1]
    return np.trapezoid(rate, alarms)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auc_judd_is_the_expectation_over_jitter(seed, ties):
    target = gaze_batch(seed)
    weights = random_maps(seed, target, ties)
    random = np.random.default_rng(0)
    rounds = 3000 if ties else 1
    rows = target.query_mask & (target.points > 0).any(-1)
    # Rows with a fixation on every pixel have no false alarm to count.
    full = ((target.points > 0) | ~target.keys()).all(-1)
    target = replace(target, query_mask=target.query_mask & ~full)
    expected = mean_over_rows(
        weights,
        target,
        lambda p, q, n: np.mean([judd(p, n, random) for _ in range(rounds)]),
        rows & ~full,
    )
    assert figure(AucJudd(), weights, target) == pytest.approx(
        expected, abs=0.005 if ties else 1e-9
    )


def test_a_useless_map_scores_half_and_a_little_by_judd():
    target = gaze_batch(1)
    one_row = replace(target, points=torch.zeros_like(target.points))
    one_row.points[:, :, 1] = 1
    uniform = controls(one_row)["uniform"]
    visible = replace(one_row, query_mask=one_row.query_mask & one_row.key_mask[:, 1:2])
    assert figure(AucJudd(), uniform, visible) == pytest.approx(3 / 4)  # (n + 2) / 2(n + 1), n = 1


def test_information_gain_is_bits_over_the_baseline():
    target = gaze_batch(2)
    weights = random_maps(2, target)

    class Centre:
        def weights(self, target):
            return controls(target, seed=5)["random"]

    known = Centre().weights(target)
    values = []
    for i, j in (target.query_mask & (target.points > 0).any(-1)).nonzero().tolist():
        keep = target.key_mask[i].numpy()
        p, b, n = (m[i, j].double().numpy()[keep] for m in (weights, known, target.points))
        p = p / p.sum()
        values.append(np.average(np.log2(p + EPSILON) - np.log2(b + EPSILON), weights=n))
    assert figure(InformationGain(Centre()), weights, target) == pytest.approx(np.mean(values))
    assert figure(InformationGain(Centre()), known, target) == pytest.approx(0, abs=1e-12)


def test_points_are_needed_where_points_are_meant():
    target = random_batch(0, "soft")
    with pytest.raises(UserError, match="nss needs fixation points"):
        Nss().update(random_maps(0, target), target)


def test_blurred_gold_used_as_points_would_be_another_figure():
    """The wrong NSS: every pixel of the blurred map taken for a fixation."""
    target = gaze_batch(3)
    weights = random_maps(3, target)
    right = figure(Nss(), weights, target)
    wrong = figure(Nss(), weights, replace(target, points=(target.weights > 0).float()))
    assert abs(right - wrong) > 0.01


def test_the_two_conventions_of_sim_differ_on_the_same_maps():
    target = gaze_batch(4)
    weights = random_maps(4, target)
    plain, stretched = (figure(m(), weights, target) for m in (Similarity, StretchedSimilarity))
    assert abs(plain - stretched) > 0.05


@pytest.mark.parametrize("metric", [CorrelationCoefficient, Nss, StretchedSimilarity])
def test_constant_maps_are_counted_not_silently_dropped(metric):
    target = gaze_batch(5)
    uniform = controls(target)["uniform"]
    made = metric()
    made.update(uniform, target)
    figures = made.compute()
    assert math.isnan(figures[made.figures[0]])
    assert figures[f"{made.figures[0]}_undefined"] == 1.0
