"""Maps as distributions: their mass on gold, their peak, and how far two of them are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.attention.parts import entropy
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
