"""Figures of numbers against SciPy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from attnlab.metrics.regression import Regression


def numbers(seed: int, outputs: int, ties: bool):
    random = np.random.default_rng(seed)
    gold = 1e4 + random.normal(size=(80, outputs)) * 3
    predicted = gold + random.normal(size=gold.shape)
    return (gold.round(), predicted.round()) if ties else (gold, predicted)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_figures_are_those_of_scipy_and_scikit_learn(outputs, ties):
    gold, predicted = numbers(outputs, outputs, ties)
    metric = Regression()
    for part in (slice(0, 30), slice(30, 80)):
        metric.update(torch.from_numpy(predicted[part]), torch.from_numpy(gold[part]))
    pairs = list(zip(predicted.T, gold.T, strict=True))
    assert metric.compute() == pytest.approx(
        {
            "mse": mean_squared_error(gold, predicted),
            "absolute_error": mean_absolute_error(gold, predicted),
            "pearson_r": np.mean([pearsonr(*pair).statistic for pair in pairs]),
            "spearman_rho": np.mean([spearmanr(*pair).statistic for pair in pairs]),
            "r2": r2_score(gold, predicted),
        },
        rel=1e-6,
    )
    for interval in metric.intervals(resamples=100).values():
        assert interval.low < interval.mean < interval.high


def test_the_mean_of_gold_explains_nothing():
    gold, _ = numbers(0, 1, ties=False)
    metric = Regression()
    metric.update(torch.full((80, 1), float(gold.mean())), torch.from_numpy(gold))
    figures = metric.compute()
    assert figures["r2"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(figures["pearson_r"]) and math.isnan(figures["spearman_rho"])


def test_unknown_numbers_do_not_count():
    gold, predicted = numbers(1, 2, ties=False)
    known, with_gaps = Regression(), Regression()
    known.update(torch.from_numpy(predicted), torch.from_numpy(gold))
    more = torch.cat([torch.from_numpy(gold), torch.full((5, 2), torch.nan).double()])
    guesses = torch.cat([torch.from_numpy(predicted), torch.zeros(5, 2).double()])
    with_gaps.update(guesses, more)
    assert with_gaps.compute() == pytest.approx(known.compute())
