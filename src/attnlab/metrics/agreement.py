"""Agreement of a map with gold, row by row: mass on gold, divergences, ranks and correlations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.attention.tensors import entropy
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.figures import Figure
from attnlab.metrics.pooled import MarkedRowMetric, RowMetric

EPSILON = 2.2204e-16  # as in the code of the MIT saliency benchmark


class MassOnGold(MarkedRowMetric):
    """The weight that a row puts on marked keys (sure or possible), as it stands.

    Weight on padding, begin and end marks is lost; weights that do not sum to one (sigmoid) are
    not normalised: `EnergyPointing` does both. Blurred gold marks every key a little: there this
    figure says nothing, and KL, CC or NSS are to be read.
    """

    about = (
        Figure("mass_on_gold", "Weight on marked keys, mean over rows", uniform="share marked"),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        return (weights * target.marks()).sum(-1)


class EnergyPointing(MarkedRowMetric):
    """The share of a row's whole weight that lies on marked keys (Wang et al. 2020, Score-CAM)."""

    about = (
        Figure(
            "energy_pointing",
            "Share of a row's whole weight on marked keys",
            uniform="share marked",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        whole = weights.sum(-1)
        inside = (weights * target.marks()).sum(-1)
        return torch.where(whole > 0, inside / whole.clamp_min(1e-30), 0.0)


class PointingGame(MarkedRowMetric):
    """Whether the greatest weight of a row is on a marked key (Zhang et al. 2018).

    Where several keys share the greatest weight, the share of them that is marked: the
    expectation of a fair choice. Taking the first would reward whatever stands first. The paper
    allows 15 pixels beside a region; here a hit is inside.
    """

    about = (
        Figure(
            "pointing_accuracy",
            "Share of rows whose greatest weight is on a marked key",
            uniform="share marked",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        hidden = weights.masked_fill(~target.keys(), -1.0)
        peak = (hidden == hidden.amax(-1, keepdim=True)) & target.keys()
        return (peak & target.marks()).sum(-1) / peak.sum(-1).clamp_min(1)


class KullbackLeibler(RowMetric):
    """sum q log(eps + q / (p + eps)), gold q, map p, in nats, as the MIT code has it.

    The epsilon bounds the price of a missed key at about 36 nats times its mass, and makes a
    perfect map score 1e-14 rather than 0. Without it (the `kl` of losses) one zero is infinite.
    """

    about = (
        Figure(
            "kl_divergence",
            "Kullback-Leibler divergence of the map from gold, in nats",
            False,
            "log keys - entropy of gold",
            "0",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        p, q = shares(weights), shares(target.weights.double())
        return torch.where(target.keys(), q * (EPSILON + q / (p + EPSILON)).log(), 0.0).sum(-1)


class JensenShannon(RowMetric):
    """Jensen-Shannon divergence in nats, at most log 2; scipy's `jensenshannon` is its root."""

    about = (
        Figure(
            "js_divergence",
            "Jensen-Shannon divergence of map and gold, in nats, at most log 2",
            False,
            "by data",
            "0",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        p, q = shares(weights), shares(target.weights.double())
        return jensen_shannon(p, q)


def shares(weights: Tensor) -> Tensor:
    """Rows that sum to one, or stay zero."""
    return weights / weights.sum(-1, keepdim=True).clamp_min(1e-30)


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """Divergence of two distributions over the last axis, in nats, at most log 2."""
    middle = (one + other) / 2
    return (entropy(middle) - (entropy(one) + entropy(other)) / 2).clamp_min(0)


@dataclass(frozen=True)
class Ranking:
    """Keys from the greatest weight to the least; hidden keys come last.

    `first` and `last` are the ranks at which the ties of a rank begin and end.
    """

    order: Tensor  # batch x queries x keys, long: which key has this rank
    marks: Tensor  # batch x queries x keys, double: 1 where the key of this rank is marked
    first: Tensor  # batch x queries x keys, long
    last: Tensor  # batch x queries x keys, long

    def up_to_ties(self, values: Tensor) -> Tensor:
        """At each rank the sum of values over all ranks up to the end of its ties."""
        return values.cumsum(-1).gather(-1, self.last)

    def before_ties(self, values: Tensor) -> Tensor:
        """At each rank the sum of values over all ranks before its ties."""
        sums = values.cumsum(-1)
        return torch.where(self.first > 0, sums.gather(-1, (self.first - 1).clamp_min(0)), 0.0)


def rank(weights: Tensor, marks: Tensor, keys: Tensor) -> Ranking:
    """All arguments are batch x queries x keys."""
    hidden = torch.where(keys, weights, -torch.inf)
    ordered, order = hidden.sort(dim=-1, descending=True, stable=True)
    position = torch.arange(weights.shape[-1], device=weights.device).expand_as(order)
    changes = ordered[..., 1:] != ordered[..., :-1]
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    begins, ends = torch.cat([edge, changes], -1), torch.cat([changes, edge], -1)
    return Ranking(
        order=order,
        marks=(marks & keys).gather(-1, order).double(),
        first=torch.where(begins, position, 0).cummax(-1).values,
        last=torch.where(ends, position, position.shape[-1]).flip(-1).cummin(-1).values.flip(-1),
    )


def average_ranks(values: Tensor, keys: Tensor) -> Tensor:
    """The rank of each key, ties sharing their mean: batch x queries x keys, double."""
    ranking = rank(values, keys, keys)
    shared = (ranking.first + ranking.last).double() / 2
    return torch.zeros_like(shared).scatter(-1, ranking.order, shared)


def correlation(one: Tensor, other: Tensor, keys: Tensor) -> Tensor:
    """Pearson's r of each row over its visible keys, NaN if either is constant.

    All arguments are batch x queries x keys; gives batch x queries.
    """
    first, second = _centred(one, keys), _centred(other, keys)
    covariance = (first * second).sum(-1)
    return covariance / (first.square().sum(-1) * second.square().sum(-1)).sqrt()


def spearman(one: Tensor, other: Tensor, keys: Tensor) -> Tensor:
    """Spearman's rho of each row over its visible keys, NaN if either is constant."""
    return correlation(average_ranks(one, keys), average_ranks(other, keys), keys)


def kendall(one: Tensor, other: Tensor, keys: Tensor) -> Tensor:
    """Kendall's tau-b of each row over its visible keys, NaN if either is constant."""
    rows = [_tau(*example) for example in zip(one, other, keys, strict=True)]
    return torch.stack(rows)


def _tau(one: Tensor, other: Tensor, keys: Tensor) -> Tensor:
    """Tau-b of each row of one example, from all pairs of visible keys; queries x keys each."""
    pairs = keys[:, :, None] & keys[:, None, :]  # queries x keys x keys
    first, second = (
        (values[:, :, None] - values[:, None, :]).sign().double() * pairs for values in (one, other)
    )
    untied = first.abs().sum((1, 2)) * second.abs().sum((1, 2))
    return (first * second).sum((1, 2)) / untied.sqrt()


def _centred(values: Tensor, keys: Tensor) -> Tensor:
    """Less the mean of visible keys; exactly zero if they are all the same."""
    visible = values.masked_fill(~keys, 0.0).double()
    mean = visible.sum(-1, keepdim=True) / keys.sum(-1, keepdim=True).clamp_min(1)
    least = values.masked_fill(~keys, torch.inf).amin(-1, keepdim=True)
    most = values.masked_fill(~keys, -torch.inf).amax(-1, keepdim=True)
    return torch.where(keys & (most > least), visible - mean, 0.0)


class MeanAbsoluteError(RowMetric):
    """Mean over visible keys of |p - t|, both as shares of their row; the mean over rows.

    Shares shrink as rows get longer, and so does this error: compare it on the same data only.
    """

    about = (
        Figure(
            "mae",
            "Mean absolute difference of weights and gold shares",
            False,
            "little if gold is flat",
            "0",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        visible = target.key_mask.sum(-1, keepdim=True)  # batch x 1
        whole = weights.sum(-1, keepdim=True).clamp_min(1e-30)
        return (weights / whole - target.distribution().double()).abs().sum(-1) / visible


class RowCorrelation(RowMetric):
    """A correlation of weights with gold within each row, then the mean over rows."""

    may_be_undefined = True
    correlate: Callable[[Tensor, Tensor, Tensor], Tensor]

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        return type(self).correlate(weights, target.weights.double(), target.keys())


class Pearson(RowCorrelation):
    """Pearson's correlation within each row, then the mean over rows (not one over all words)."""

    about = (
        Figure(
            "pearson",
            "Pearson correlation with gold within a row, mean over rows",
            uniform="undefined",
        ),
    )
    correlate = staticmethod(correlation)


class Spearman(RowCorrelation):
    """Spearman's rank correlation within each row, ties sharing their mean rank."""

    about = (
        Figure(
            "spearman",
            "Spearman rank correlation with gold within a row, mean over rows",
            uniform="undefined",
        ),
    )
    correlate = staticmethod(spearman)


class Kendall(RowCorrelation):
    """Kendall's tau-b within each row.

    Not defined where either side is constant: scipy then gives NaN, which silently drops out of a
    nan-mean; here the share of such rows is a figure.
    """

    about = (
        Figure(
            "kendall",
            "Kendall tau-b with gold within a row, mean over rows",
            uniform="undefined",
        ),
    )
    correlate = staticmethod(kendall)
