"""Answers that are labels, tags or numbers: accuracy, F1, tagged spans, errors, correlations."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.pooled import PooledMetric, ratio

Tags = str | Sequence[str]  # tags of one sentence, or the same in one string between spaces

MOMENTS = 5  # sums that a correlation is made of: x, y, x^2, y^2, x y


class Classification(PooledMetric):
    """Accuracy, and the mean of the F1 of each class that gold or the predictions name.

    That is scikit-learn's macro F1 without `labels`. A prediction outside the known labels is
    wrong and counts for no class.
    """

    about = (
        Figure("accuracy", "Share of the examples whose label is right", uniform="chance"),
        Figure("f1_macro", "Mean over classes of F1", uniform="chance"),
    )

    def __init__(self, labels: Sequence[Hashable]) -> None:
        super().__init__()
        self.codes = {label: code for code, label in enumerate(labels)}

    def update(self, predictions: Sequence[Hashable], answers: Sequence[Hashable]) -> None:
        codes = [
            (self.codes.get(predicted, -1), self.codes[gold])
            for predicted, gold in zip(predictions, answers, strict=True)
        ]
        self.keep(torch.tensor(codes, device=self.device).view(-1, 2))

    def statistics(self) -> Values:
        """Right, one, then hits, predicted and gold of each class: examples x (2 + 3 classes)."""
        labels, gold = super().statistics().astype(int).T
        classes = np.arange(len(self.codes))
        predicted, true = labels[:, None] == classes, gold[:, None] == classes
        right = (labels == gold)[:, None]
        columns = [right, np.ones_like(right), predicted & true, predicted, true]
        return np.concatenate(columns, axis=1).astype(np.float64)

    def score(self, sums: Values) -> Values:
        right, one = sums[..., 0], sums[..., 1]
        hits, predicted, gold = np.split(sums[..., 2:], 3, axis=-1)
        f1 = ratio(2 * hits, predicted + gold)
        named = ~np.isnan(f1)
        macro = ratio(np.where(named, f1, 0.0).sum(-1), named.sum(-1))
        return np.stack([ratio(right, one), macro], axis=-1)

    def by_class(self) -> dict[str, list[Any]]:
        """Precision, recall and F1 of each, and how often each answer was given in its stead."""
        labels, gold = PooledMetric.statistics(self).astype(int).T
        names, count = list(self.codes), len(self.codes)
        hits, predicted, true = np.split(self.statistics().sum(0)[2:], 3)
        confusion = np.zeros((count, count), int)  # gold x predicted
        np.add.at(confusion, (gold[labels >= 0], labels[labels >= 0]), 1)
        columns = _by_class(names, hits, predicted, true)
        return columns | {f"as {n}": confusion[:, i].tolist() for i, n in enumerate(names)}


class TokenAccuracy(PooledMetric):
    """The share of units that are right, counted over all units of the corpus."""

    about = (Figure("token_accuracy", "Share of the units that are right", uniform="chance"),)

    def update(self, predictions: Tensor, answers: Tensor, mask: Tensor) -> None:
        """Codes and their mask (True counts), all batch x length."""
        right = ((predictions == answers) & mask).sum(-1)
        self.keep(torch.stack([right, mask.sum(-1)], dim=-1))

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., 0], sums[..., 1])[..., None]


class SpanF1(PooledMetric):
    """F1 of whole tagged spans, both ends and the type right, as conlleval counts (BIO tags).

    A span begins at B-, or at an I- that does not go on from a span of its type, as in conlleval
    and seqeval's default; strict readings drop the latter.
    """

    about = (
        Figure("span_f1", "F1 of whole tagged spans, both ends and the type right"),
        Figure("span_precision", "Share of the predicted spans that are right"),
        Figure("span_recall", "Share of the gold spans that are found"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[str, list[int]] = {}  # of each in this process: hits, predicted, gold

    def reset(self) -> None:
        super().reset()
        self.types = {}

    def update(self, predictions: Sequence[Tags], references: Sequence[Tags]) -> None:
        counts = []
        for prediction, gold in zip(predictions, references, strict=True):
            predicted, true = tagged_spans(prediction), tagged_spans(gold)
            groups = predicted & true, predicted, true
            counts.append([len(spans) for spans in groups])
            for column, spans in enumerate(groups):
                for kind, *_ in spans:
                    self.types.setdefault(kind, [0, 0, 0])[column] += 1
        self.keep(torch.tensor(counts, device=self.device).view(-1, 3))

    def score(self, sums: Values) -> Values:
        hits, predicted, gold = np.moveaxis(sums, -1, 0)
        figures = (ratio(2 * hits, predicted + gold), ratio(hits, predicted), ratio(hits, gold))
        return np.stack(figures, axis=-1)

    def by_class(self) -> dict[str, list[Any]]:
        """Precision, recall and F1 of each type of span, in alphabetical order."""
        names = sorted(self.types)
        hits, predicted, true = np.array([self.types[name] for name in names]).reshape(-1, 3).T
        return _by_class(names, hits, predicted, true)


def _by_class(names: Sequence[Any], hits: Values, predicted: Values, true: Values) -> dict:
    return {
        "class": list(names),
        "precision": ratio(hits, predicted).tolist(),
        "recall": ratio(hits, true).tolist(),
        "f1": ratio(2 * hits, predicted + true).tolist(),
        "gold": true.astype(int).tolist(),
    }


def tagged_spans(tags: Tags) -> set[tuple[str, int, int]]:
    """Type, first unit and the first one after, of every span in a sentence of BIO tags."""
    units = tags.split() if isinstance(tags, str) else tags
    spans, start, kind = set(), 0, ""
    for i, (tag, name) in enumerate(itertools.chain(map(_split, units), [("O", "")])):
        goes_on = tag == "I" and name == kind
        if kind and not goes_on:
            spans.add((kind, start, i))
        if not goes_on:
            start, kind = i, name
    return spans


def _split(tag: str) -> tuple[str, str]:
    """`B-LOC` as B and LOC; `O` has no type."""
    prefix, _, name = tag.partition("-")
    return (prefix, name or "_") if prefix in ("B", "I") else ("O", "")


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
