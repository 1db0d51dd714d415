"""Pooling over batches and processes, and intervals of pooled figures."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from attnlab.config.compose import config_dir
from attnlab.config.evaluation import LinkRule, MapFigure, MapMetrics
from attnlab.config.section import register
from attnlab.metrics.agreement import MassOnGold
from attnlab.metrics.controls import PositionPrior, controls
from attnlab.metrics.figures import KNOWN, Figure
from attnlab.metrics.links import AlignmentErrorRate, Argmax
from attnlab.metrics.pooled import RowMetric, map_metrics
from attnlab.metrics.rationale import AveragePrecision
from tests.maps import random_batch, random_maps, random_target

TWO_PROCESSES = """
import sys
import torch, torch.distributed as dist, torch.multiprocessing as mp
from tests.maps import random_batch, random_maps
from attnlab.metrics.links import AlignmentErrorRate
from attnlab.metrics.links import Argmax

def work(rank, where):
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    metric = AlignmentErrorRate(Argmax(minimum=0.0))
    for seed in range(rank, 5, 2):  # three batches for the one, two for the other
        target = random_batch(seed, examples=3 + seed)
        metric.update(random_maps(seed, target), target)
    figures, intervals = metric.compute(), metric.intervals(resamples=10)
    if rank == 1:
        print(figures["aer"], intervals["aer"].mean)
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.start_processes(work, args=("file://" + sys.argv[1],), nprocs=2, start_method="fork")
"""

FOLDER = config_dir() / "metrics"
SETS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_batches_pool_to_the_corpus_figure():
    target = random_batch(0, examples=12)
    weights = random_maps(0, target)
    whole, parts = AveragePrecision(), AveragePrecision()
    whole.update(weights, target)
    for part in (slice(0, 2), slice(2, 12)):
        parts.update(weights[part], target.select(part))
    assert parts.compute() == pytest.approx(whole.compute())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_seen_is_not_zero():
    assert math.isnan(MassOnGold().compute()["mass_on_gold"])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_forgets():
    target = random_batch(0)
    metric = MassOnGold()
    metric.update(random_maps(0, target), target)
    metric.reset()
    assert math.isnan(metric.compute()["mass_on_gold"])


def test_intervals_are_around_the_pooled_figure():
    target = random_batch(1, examples=50)
    metric = AlignmentErrorRate(Argmax(minimum=0.0))
    metric.update(random_maps(1, target), target)
    intervals, figures = metric.intervals(resamples=200), metric.compute()
    for name, interval in intervals.items():
        assert interval.mean == pytest.approx(figures[name])
        assert interval.low < interval.mean < interval.high


def test_two_processes_give_the_figure_of_one(tmp_path):
    script = tmp_path / "two_processes.py"
    script.write_text(TWO_PROCESSES)
    environment = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "meet")],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    alone = AlignmentErrorRate(Argmax(minimum=0.0))
    for seed in range(5):
        target = random_batch(seed, examples=3 + seed)
        alone.update(random_maps(seed, target), target)
    expected = pytest.approx(alone.compute()["aer"])
    assert [float(word) for word in done.stdout.split()] == [expected, expected]


def test_half_precision_maps_are_pooled_in_double():
    target = random_batch(2, examples=30)
    weights = random_maps(2, target).bfloat16()
    metric = MassOnGold()
    for i in range(30):
        metric.update(weights[i : i + 1], target.select(slice(i, i + 1)))
    exact = MassOnGold()
    exact.update(weights, target)
    assert metric.compute()["mass_on_gold"] == pytest.approx(exact.compute()["mass_on_gold"])
    assert metric.statistics().dtype == np.float64


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
