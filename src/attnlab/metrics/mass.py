"""How much of the weight lies on gold, and whether its peak does."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.facts import Figure
from attnlab.metrics.pooled import MarkedRowMetric


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
