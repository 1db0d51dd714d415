"""How far two maps are apart as distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.attention.parts import entropy
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.facts import Figure
from attnlab.metrics.pooled import RowMetric

EPSILON = 2.2204e-16  # as in the code of the MIT saliency benchmark


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
