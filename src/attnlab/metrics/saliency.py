"""Saliency and gaze maps against a distribution or against fixation points.

After the MIT/Tuebingen benchmark and Bylinskii et al. 2019, "What do different evaluation metrics
tell us about saliency models?". All are means over rows (one row is one image). Weights are
normalised over the visible keys first.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError
from attnlab.metrics.agreement import EPSILON, Pearson, rank, shares
from attnlab.metrics.figures import Figure
from attnlab.metrics.pooled import RowMetric


class Similarity(RowMetric):
    """sum min(p, q): the histogram intersection of the two distributions (SIM)."""

    about = (
        Figure("similarity", "Overlap of map and gold as distributions (SIM)", uniform="by data"),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        return torch.minimum(shares(weights), shares(target.weights.double())).sum(-1)


class StretchedSimilarity(RowMetric):
    """SIM of maps stretched from 0 to 1 before they are normalised, as MIT's `similarity.m` does.

    On the same maps it can be 0.3 away from `Similarity`: say which one a figure is. A constant
    map cannot be stretched: its value is not defined.
    """

    about = (
        Figure(
            "similarity_minmax",
            "SIM of maps stretched from 0 to 1 first, as MIT's code has it",
            uniform="undefined",
        ),
    )
    may_be_undefined = True

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        keys = target.keys()
        maps = [shares(stretch(w, keys)) for w in (weights, target.weights.double())]
        overlap = torch.minimum(*maps).sum(-1)
        defined = (maps[0].sum(-1) > 0) & (maps[1].sum(-1) > 0)
        return torch.where(defined, overlap, torch.nan)


class CorrelationCoefficient(Pearson):
    """Pearson's correlation of the two maps over the visible keys (CC); none for constant maps."""

    about = (Figure("cc", "Pearson correlation of map and gold (CC)", uniform="undefined"),)


class PointMetric(RowMetric):
    """A metric of fixation points. Blurred maps have none, and are refused rather than abused."""

    def rows(self, target: TargetBatch) -> Tensor:
        return target.query_mask & (self.points(target) > 0).any(-1)

    def best_map(self, target: TargetBatch) -> Tensor:
        return shares(self.points(target))

    def points(self, target: TargetBatch) -> Tensor:
        """Fixation counts on visible keys: batch x queries x keys, double."""
        if target.points is None:
            raise UserError(
                f"metrics.figures: {self.figures[0]} needs fixation points, which the data do not "
                "have; try: python train.py metrics=gaze"
            )
        return target.points.double() * target.keys()


class Nss(PointMetric):
    """Normalised scanpath saliency: the mean z-score of the map at the fixations (Peters 2005).

    Several fixations of one pixel count several times. The standard deviation is the
    population's, as in pysaliency; MIT's divides by n - 1, which on 10,000 pixels is 0.005% less.
    """

    about = (
        Figure(
            "nss",
            "Mean z-score of the map at fixations",
            uniform="undefined",
            perfect="by data",
        ),
    )
    may_be_undefined = True

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        keys, points = target.keys(), self.points(target)
        count = keys.sum(-1, keepdim=True)
        centred = (weights - weights.sum(-1, keepdim=True) / count) * keys
        spread = (centred.square().sum(-1) / count[..., 0]).sqrt()
        scores = (centred * points).sum(-1) / points.sum(-1) / spread
        return torch.where(constant(weights, keys), torch.nan, scores)


class AucJudd(PointMetric):
    """Area under the curve of hit rate over false alarms, with a threshold at each fixated pixel.

    (Judd et al. 2009.) Pixels fixated more than once count once. The trapezoid between fixations
    puts it slightly above the usual AUC: by 1 / 2n for n fixations and a useless map. The
    original breaks ties by random jitter; here stands the expectation of that, exactly.
    """

    about = (
        Figure(
            "auc_judd",
            "Area under hit rate over false alarms at fixated pixels (Judd)",
            uniform="about 0.5",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        keys = target.keys()
        ranking = rank(weights, self.points(target) > 0, keys)
        hits = ranking.marks
        misses = keys.gather(-1, ranking.order).double() - hits
        many = hits.sum(-1, keepdim=True)
        others = misses.sum(-1, keepdim=True).clamp_min(1)
        # Within ties, the i-th of a hits among b misses has on average b * i / (a + 1) before it.
        nth = hits.cumsum(-1) - ranking.before_ties(hits)
        tied_hits = ranking.up_to_ties(hits) - ranking.before_ties(hits)
        missed_before = ranking.before_ties(misses)
        tied_misses = ranking.up_to_ties(misses) - missed_before
        alarms = (missed_before + tied_misses * nth / (tied_hits + 1)) / others  # at each hit
        # The trapezoids from hit to hit, summed by parts: the last hit's alarms count half.
        part = torch.where(hits.cumsum(-1) < many, 1.0, 0.5) / many
        return 1 - (hits * alarms * part).sum(-1)


class Baseline(Protocol):
    """A control map, such as a fitted `PositionPrior`."""

    def weights(self, target: TargetBatch) -> Tensor: ...


class InformationGain(PointMetric):
    """Mean log2-likelihood of fixations above that of a baseline, in bits (Kuemmerer et al. 2015).

    The baseline is to be a position (centre) prior fitted on training data: against a uniform map
    everything that knows the centre gains much.
    """

    about = (
        Figure(
            "information_gain",
            "Log-likelihood of fixations above that of the position prior, in bits",
            uniform="0 or less",
            perfect="by data",
        ),
    )

    def __init__(self, baseline: Baseline) -> None:
        super().__init__()
        self.baseline = baseline

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        points = self.points(target)
        known = shares(self.baseline.weights(target).double() * target.keys())
        gain = ((EPSILON + shares(weights)) / (EPSILON + known)).log() / math.log(2)
        return (gain * points).sum(-1) / points.sum(-1)


def stretch(weights: Tensor, keys: Tensor) -> Tensor:
    """Each row from 0 (its least) to 1 (its greatest) over visible keys; zeros if constant."""
    least = weights.masked_fill(~keys, torch.inf).amin(-1, keepdim=True)
    most = weights.masked_fill(~keys, -torch.inf).amax(-1, keepdim=True)
    raised = torch.where(keys & (most > least), weights - least, 0.0)
    return raised / (most - least).where(most > least, 1.0)


def constant(weights: Tensor, keys: Tensor) -> Tensor:
    """Whether all visible weights of a row are the same: batch x queries."""
    least = weights.masked_fill(~keys, torch.inf).amin(-1)
    return least >= weights.masked_fill(~keys, -torch.inf).amax(-1)
