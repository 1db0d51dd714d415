"""The metrics of a map that a config names."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from attnlab.config.metrics import MapMetrics
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.controls import PositionPrior
from attnlab.metrics.pooled import MapMetric


class Uniform:
    """The baseline of information gain where no position prior was fitted."""

    def weights(self, target: TargetBatch) -> Tensor:
        return torch.ones_like(target.weights)


def map_metrics(config: MapMetrics, prior: PositionPrior | None = None) -> list[MapMetric]:
    """A new metric for each figure that the config names; the prior is what IG has to beat.

    Each constructor gets those of the shared settings that it names as parameters.
    """
    shared = {
        "links": config.links.build(),
        "iou": config.iou,
        "tolerance": config.tolerance,
        "baseline": prior or Uniform(),
    }
    metrics = []
    for figure in config.figures:
        names = inspect.signature(figure.implementation()).parameters
        metrics.append(figure.build(**{n: value for n, value in shared.items() if n in names}))
    return metrics
