"""Answers that are numbers: errors, correlations and explained variance."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from attnlab.metrics.facts import Figure
from attnlab.metrics.intervals import Values
from attnlab.metrics.pooled import PooledMetric, ratio

MOMENTS = 5  # sums that a correlation is made of: x, y, x^2, y^2, x y


class Regression(PooledMetric):
    """Errors, correlations and R2 over all examples; with several numbers, means over them.

    R2 is 1 - squared error / variance of gold, so that the mean of gold scores 0. A correlation
    with a constant is not defined (NaN). Intervals of Spearman's rho resample examples with the
    ranks that they have in the whole split.
    """

    about = (
        Figure("mse", "Mean squared error of the numbers", False, "variance of gold", "0"),
        Figure("absolute_error", "Mean absolute error of the numbers", False, "by data", "0"),
        Figure("pearson_r", "Pearson correlation of predictions and gold", uniform="undefined"),
        Figure("spearman_rho", "Rank correlation of predictions and gold", uniform="undefined"),
        Figure("r2", "Share of gold's variance that is explained (R2)", uniform="0"),
    )

    def update(self, predictions: Tensor, answers: Tensor) -> None:
        """Numbers, both batch x outputs; an answer that is NaN is unknown and does not count."""
        self.keep(torch.cat([predictions.double(), answers.double()], dim=-1))

    def statistics(self) -> Values:
        """What every output adds to the sums: examples x (outputs * 13)."""
        predictions, answers = np.split(super().statistics(), 2, axis=1)
        pairs = zip(predictions.T, answers.T, strict=True)
        return np.concatenate([_statistics(*pair) for pair in pairs], axis=1)

    def score(self, sums: Values) -> Values:
        outputs = sums.reshape(*sums.shape[:-1], -1, 3 + 2 * MOMENTS)
        count, squared, absolute = np.moveaxis(outputs[..., :3], -1, 0)  # each ... x outputs
        values, ranks = outputs[..., 3 : 3 + MOMENTS], outputs[..., 3 + MOMENTS :]
        variation = values[..., 3] - ratio(values[..., 1] ** 2, count)  # of gold about its mean
        figures = (
            ratio(squared, count),
            ratio(absolute, count),
            _correlation(values, count),
            _correlation(ranks, count),
            1 - ratio(squared, np.where(variation > 1e-12 * values[..., 3], variation, 0)),
        )
        return np.stack([figure.mean(-1) for figure in figures], axis=-1)


def _statistics(predictions: Values, answers: Values) -> Values:
    """Count, squared and absolute error, moments of values and of ranks: examples x 13."""
    known = np.isfinite(answers)
    table = np.zeros((len(answers), 3 + 2 * MOMENTS))
    predicted, gold = predictions[known], answers[known]
    if not len(gold):
        return table
    error = predicted - gold
    ranks = rankdata(predicted) - (len(gold) + 1) / 2, rankdata(gold) - (len(gold) + 1) / 2
    shift = gold.mean()  # keeps sums of squares small beside the variance
    columns = [np.ones_like(gold), error**2, np.abs(error)]
    columns += [*_moments(predicted - shift, gold - shift), *_moments(*ranks)]
    table[known] = np.stack(columns, axis=1)
    return table


def _moments(x: Values, y: Values) -> tuple[Values, ...]:
    return x, y, x**2, y**2, x * y


def _correlation(moments: Values, count: Values) -> Values:
    """Pearson's r from sums of moments; NaN if either side is constant."""
    x, y, xx, yy, xy = np.moveaxis(moments, -1, 0)
    x_spread, y_spread = xx - ratio(x**2, count), yy - ratio(y**2, count)
    varied = (x_spread > 1e-12 * xx) & (y_spread > 1e-12 * yy)
    product = np.where(varied, x_spread * y_spread, 0).clip(0)
    return ratio(xy - ratio(x * y, count), np.sqrt(product))
