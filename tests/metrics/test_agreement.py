"""Mass on gold and pointing against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr, spearmanr

from attnlab.metrics.agreement import (
    EnergyPointing,
    Kendall,
    MassOnGold,
    MeanAbsoluteError,
    Pearson,
    PointingGame,
    Spearman,
)
from attnlab.metrics.controls import controls
from tests.maps import random_batch, random_maps, rows_of

SCIPY = [(Pearson, pearsonr), (Spearman, spearmanr), (Kendall, kendalltau)]


def figure(metric, weights, target):
    metric.update(weights, target)
    return metric.compute()[metric.figures[0]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["hard", "sure_possible"])
def test_mass_energy_and_pointing_follow_their_definitions(seed, kind):
    target = random_batch(seed, kind)
    weights = random_maps(seed, target)
    rows = list(rows_of(weights, target))
    mass = np.mean([w[m].sum() for w, _, m in rows])
    energy = np.mean([w[m].sum() / w.sum() for w, _, m in rows])
    pointing = np.mean([m[w.argmax()] for w, _, m in rows])
    assert figure(MassOnGold(), weights, target) == pytest.approx(mass)
    assert figure(EnergyPointing(), weights, target) == pytest.approx(energy)
    assert figure(PointingGame(), weights, target) == pytest.approx(pointing)
    assert mass < energy  # mass on hidden keys is lost to the one, left out by the other


def test_tied_peaks_score_what_a_fair_choice_would():
    target = random_batch(3)
    uniform = controls(target)["uniform"]
    chance = np.mean([m.mean() for _, _, m in rows_of(uniform, target)])
    assert figure(PointingGame(), uniform, target) == pytest.approx(chance)


def test_rows_without_annotation_do_not_count():
    target = random_batch(0)
    weights = random_maps(0, target)
    before = figure(MassOnGold(), weights, target)
    weights[~target.query_mask] = torch.rand(())
    assert figure(MassOnGold(), weights, target) == pytest.approx(before)


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
