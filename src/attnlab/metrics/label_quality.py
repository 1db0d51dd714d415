"""Which labels and gold maps are probably wrong, by models that did not see them in training.

`wrong_labels` is confident learning (Northcutt et al. 2021): an example is off the diagonal of the
confident joint if a label other than its own is likelier than examples with that label usually are.
`map_limits` says from what loss on a gold map the held-out map fits it as badly as it fits the gold
map of another example. `outlier_scores` say how far examples are from all others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from attnlab.metrics.figures import Values

Places = npt.NDArray[np.int64]
NEAREST = 5  # neighbours that say how far an example is from others
LEAST_RATIO = 1.5  # of the median loss on gold of others to that on own gold


def wrong_labels(probabilities: Values, labels: Places) -> npt.NDArray[np.bool_]:
    """Which labels are probably wrong: examples.

    Args:
        probabilities: of each label, by a model that was not trained on the example: examples x
            labels.
        labels: the number of each example's label.
    """
    classes = probabilities.shape[1]
    usual = np.full(classes, np.inf)  # mean probability of a label among examples that have it
    for label in range(classes):
        if (labels == label).any():
            usual[label] = probabilities[labels == label, label].mean()
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    best = confident.argmax(1)
    likeliest = probabilities.argmax(1)  # a label that is likelier than all others is not doubted
    return (confident.max(1) >= 0) & (best != labels) & (likeliest != labels)


def own_probability(probabilities: Values, labels: Places) -> Values:
    """The probability of each example's own label."""
    return probabilities[np.arange(len(labels)), labels]


def unusual_losses(losses: Values) -> npt.NDArray[np.bool_]:
    """Which losses lie above the upper quartile by more than three interquartile ranges of logs."""
    logs = np.log(np.maximum(losses, 1e-8))
    low, high = np.quantile(logs, [0.25, 0.75])
    return logs > high + 3 * max(high - low, 1e-8)


def outlier_scores(vectors: Values) -> Values:
    """The mean cosine distance of each vector to its nearest ones, over the median of all.

    Args:
        vectors: examples x width.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    count = min(NEAREST, len(unit) - 1)
    if count < 1:
        return np.ones(len(unit))
    means = []
    for start in range(0, len(unit), 1000):
        apart = 1 - unit[start : start + 1000] @ unit.T  # some examples x examples
        apart[np.arange(len(apart)), start + np.arange(len(apart))] = np.inf  # itself
        means.append(np.partition(apart, count - 1, axis=1)[:, :count].mean(1))
    mean = np.maximum(np.concatenate(means), 0.0)
    return mean / max(float(np.median(mean)), 1e-12)


class MapLimits(NamedTuple):
    """Where wrong gold maps begin."""

    threshold: float | None  # greatest loss of a map that is kept; None: nothing can be said
    own: float  # median loss on gold of held-out maps
    others: float  # the same on gold of other examples


def map_limits(own: Values, others: Values) -> MapLimits:
    """The threshold between the median loss on own gold and on that of others, by geometric mean.

    Both are examples, NaN where there is no gold. Medians stand as long as fewer than half of the
    gold maps are wrong.
    """
    medians = float(np.nanmedian(own)), float(np.nanmedian(others))
    apart = medians[1] > LEAST_RATIO * medians[0]
    return MapLimits(float(np.sqrt(medians[0] * medians[1])) if apart else None, *medians)


def auroc(scores: Values, positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive has a greater score than a negative; ties count a half."""
    ranks, hits = rankdata(scores), int(positive.sum())
    pairs = hits * (len(scores) - hits)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / pairs) if pairs else float("nan")
