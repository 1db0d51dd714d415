"""Pooling over batches and processes, and intervals of pooled figures."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from attnlab.metrics.alignment import AlignmentErrorRate
from attnlab.metrics.links import Argmax
from attnlab.metrics.mass import MassOnGold
from attnlab.metrics.rationale import AveragePrecision
from tests.maps import random_batch, random_maps

TWO_PROCESSES = """
import sys
import torch, torch.distributed as dist, torch.multiprocessing as mp
from tests.maps import random_batch, random_maps
from attnlab.metrics.alignment import AlignmentErrorRate
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
