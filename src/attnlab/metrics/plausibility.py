"""The figures of a map that a config names, as metrics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attnlab.config.metrics import MapMetrics
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics import correlation, mass, rationale, saliency
from attnlab.metrics.alignment import AlignmentErrorRate
from attnlab.metrics.controls import PositionPrior
from attnlab.metrics.path import BoundaryF1, Monotonicity
from attnlab.metrics.pooled import MapMetric


class Uniform:
    """The baseline of information gain where no position prior was fitted."""

    def weights(self, target: TargetBatch) -> Tensor:
        return torch.ones_like(target.weights)


Maker = Callable[[MapMetrics, saliency.Baseline], MapMetric]

METRICS: dict[str, Maker] = {
    "aer": lambda config, _: AlignmentErrorRate(config.links.build()),
    "token_f1": lambda config, _: rationale.TokenF1(config.links.build()),
    "iou_f1": lambda config, _: rationale.IouF1(config.links.build(), config.iou),
    "boundary_f1": lambda config, _: BoundaryF1(config.links.build(), config.tolerance),
    "information_gain": lambda _, baseline: saliency.InformationGain(baseline),
    "monotonicity": lambda *_: Monotonicity(),
    "average_precision": lambda *_: rationale.AveragePrecision(),
    "auprc": lambda *_: rationale.Auprc(),
    "mass_on_gold": lambda *_: mass.MassOnGold(),
    "energy_pointing": lambda *_: mass.EnergyPointing(),
    "pointing_accuracy": lambda *_: mass.PointingGame(),
    "kl_divergence": lambda *_: saliency.KullbackLeibler(),
    "js_divergence": lambda *_: saliency.JensenShannon(),
    "cc": lambda *_: saliency.CorrelationCoefficient(),
    "similarity": lambda *_: saliency.Similarity(),
    "similarity_minmax": lambda *_: saliency.StretchedSimilarity(),
    "nss": lambda *_: saliency.Nss(),
    "auc_judd": lambda *_: saliency.AucJudd(),
    "mae": lambda *_: correlation.MeanAbsoluteError(),
    "pearson": lambda *_: correlation.Pearson(),
    "spearman": lambda *_: correlation.Spearman(),
    "kendall": lambda *_: correlation.Kendall(),
}


def map_metrics(config: MapMetrics, prior: PositionPrior | None = None) -> list[MapMetric]:
    """A new metric for each figure that the config names; the prior is what IG has to beat."""
    return [METRICS[figure](config, prior or Uniform()) for figure in config.figures]
