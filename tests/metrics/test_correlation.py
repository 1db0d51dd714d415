"""Correlations per row against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

from attnlab.metrics.controls import controls
from attnlab.metrics.correlation import Kendall, MeanAbsoluteError, Pearson, Spearman
from tests.maps import random_batch, random_maps, rows_of

SCIPY = [(Pearson, pearsonr), (Spearman, spearmanr), (Kendall, kendalltau)]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("metric", "function"), SCIPY)
@pytest.mark.filterwarnings("ignore:.*input array is constant")
def test_correlations_are_those_of_scipy(metric, function, seed, ties):
    target = random_batch(seed, "hard" if ties else "soft")
    weights = random_maps(seed, target, ties)
    values = np.array([function(w, t).statistic for w, t, _ in rows_of(weights, target)])
    made = metric()
    made.update(weights, target)
    figures = made.compute()
    assert figures[made.figures[0]] == pytest.approx(np.nanmean(values))
    assert figures[f"{made.figures[0]}_undefined"] == pytest.approx(np.isnan(values).mean())


@pytest.mark.parametrize("metric", [Pearson, Spearman, Kendall])
def test_constant_scores_are_counted(metric):
    target = random_batch(1, "soft")
    made = metric()
    made.update(controls(target)["uniform"], target)
    figures = made.compute()
    assert math.isnan(figures[made.figures[0]])
    assert figures[f"{made.figures[0]}_undefined"] == 1.0


def test_mean_absolute_error_is_between_shares():
    target = random_batch(2, "soft")
    weights = random_maps(2, target)
    rows = [np.abs(w / w.sum() - t / t.sum()).mean() for w, t, _ in rows_of(weights, target)]
    metric = MeanAbsoluteError()
    metric.update(weights, target)
    assert metric.compute()["mae"] == pytest.approx(np.mean(rows))
