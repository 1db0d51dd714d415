"""Every figure that a config can name is computed, beside its controls, on a target fit for it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from attnlab.config.compose import config_dir
from attnlab.config.metrics import LinkRule, MapFigure, MapMetrics
from attnlab.config.section import register
from attnlab.metrics.controls import PositionPrior, controls
from attnlab.metrics.facts import KNOWN, Figure
from attnlab.metrics.plausibility import map_metrics
from attnlab.metrics.pooled import RowMetric
from tests.maps import random_batch, random_maps, random_target

FOLDER = config_dir() / "metrics"
SETS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def settings(name: str, *overrides: str) -> MapMetrics:
    with initialize_config_dir(str(Path(config_dir())), version_base="1.3"):
        composed = compose(overrides=[f"+metrics={name}", *overrides])
    return MapMetrics.model_validate(OmegaConf.to_container(composed.metrics))


def gaze_batch():
    target = random_batch(0, "soft", examples=30)
    return replace(target, points=(target.weights > 0.5).float() + (target.weights > 0.9).float())


def test_every_figure_stands_in_a_set_under_its_own_name():
    named = {figure.kind for name in SETS for figure in settings(name).figures}
    assert named == set(MapFigure.kinds())
    for kind, choice in MapFigure.kinds().items():
        assert choice(kind=kind).implementation().about[0].name == kind
    assert {path.stem for path in (FOLDER / "links").glob("*.yaml")} == set(LinkRule.kinds())


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_computed_with_intervals(name):
    config = settings(name)
    target = gaze_batch()
    prior = PositionPrior.fit(random_target(np.random.default_rng(i), "soft") for i in range(30))
    weights = random_maps(0, target)
    for metric in map_metrics(config, prior):
        metric.update(weights, target)
        for figure, interval in metric.intervals(resamples=50).items():
            assert math.isfinite(interval.mean), figure
            assert interval.low <= interval.mean <= interval.high, figure


@pytest.mark.parametrize("name", SETS)
def test_the_oracle_beats_every_other_control_in_every_headline_figure(name):
    target = gaze_batch() if name in ("gaze", "saliency") else random_batch(1, examples=30)
    made = controls(target)
    kept = {}
    for source, weights in made.items():
        for metric in map_metrics(settings(name)):
            if source == "oracle":
                metric.update_best(target)
            else:
                metric.update(weights, target)
            sign = 1 if metric.higher_is_better else -1
            kept[source, metric.figures[0]] = sign * metric.compute()[metric.figures[0]]
    for (source, figure), value in kept.items():
        if source == "oracle" or figure == "monotonicity" or math.isnan(value):
            continue  # it rates no map, and constant maps have no correlation
        assert kept["oracle", figure] > value, (figure, source)


def test_a_figure_of_a_plugin_is_named_like_any_other():
    @register("map_figure", "peak_of_a_test")
    class Peak(RowMetric):
        about = (Figure("peak_of_a_test", "Greatest weight of a row", None, "1 / keys"),)

        def __init__(self, tolerance, *, power: int) -> None:
            super().__init__()
            self.tolerance, self.power = tolerance, power

        def values(self, weights, target):
            return weights.amax(-1) ** self.power

    try:
        figures = "metrics.figures=[aer,{kind: peak_of_a_test, power: 2}]"
        config = settings("time", figures)
        metric = map_metrics(config)[1]
        assert (metric.tolerance, metric.power) == (2, 2)
        target = random_batch(0)
        metric.update(controls(target)["uniform"], target)
        assert 0 < metric.compute()["peak_of_a_test"] < 1
    finally:
        del MapFigure.choices["peak_of_a_test"], KNOWN["peak_of_a_test"]
