"""Figures, controls and losses are the same on a CUDA device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnlab.config.evaluation import MapFigure, MapMetrics
from attnlab.metrics.config import Argmax
from attnlab.metrics.controls import controls
from attnlab.metrics.pooled import map_metrics
from attnlab.objectives.attention import CrossEntropy
from tests.maps import random_batch, random_maps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def gaze_batch():
    target = random_batch(0, "soft", examples=10)
    return replace(target, points=(target.weights > 0.5).float())


@pytest.mark.parametrize("figure", MapFigure.kinds())
def test_figures_are_those_of_the_cpu(figure):
    links = Argmax(kind="argmax", minimum=0.0)
    config = MapMetrics(name="one", figures=[figure], links=links, iou=0.5, tolerance=1)
    target = gaze_batch()
    weights = random_maps(0, target)
    computed = []
    for device in ("cpu", "cuda"):
        (metric,) = map_metrics(config)
        metric.to(device).update(weights.to(device), target.to(device))
        computed.append(metric.compute())
    assert computed[0] == pytest.approx(computed[1])


def test_controls_are_those_of_the_cpu():
    target = gaze_batch()
    for name, weights in controls(target.to("cuda")).items():
        assert torch.allclose(weights.cpu(), controls(target)[name]), name


def test_losses_are_those_of_the_cpu():
    target = gaze_batch()
    objective = CrossEntropy(site="pooling")
    log_weights = random_maps(0, target)[:, None].log().float()
    there = objective.compare(log_weights.cuda(), target.to("cuda"))
    here = objective.compare(log_weights, target)
    assert there.value.item() == pytest.approx(here.value.item(), rel=1e-5)
