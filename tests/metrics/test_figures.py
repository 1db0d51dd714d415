"""Every metric says what its figures mean, and which way is better."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

import attnlab.metrics
from attnlab.metrics.answers import Classification
from attnlab.metrics.figures import (
    KNOWN,
    Figure,
    bootstrap,
    bootstrap_pooled,
    bootstrap_seeds,
    defined,
    facts,
    paired_bootstrap,
    share_interval,
)
from attnlab.metrics.pooled import DescribedMetric
from attnlab.metrics.text import ExactMatch
from docs.tables import figures


def metric_classes() -> list[type[DescribedMetric]]:
    found = []
    for module in pkgutil.iter_modules(attnlab.metrics.__path__, "attnlab.metrics."):
        members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        found += [c for _, c in members if issubclass(c, DescribedMetric)]
    described = (c for c in set(found) if not inspect.isabstract(c) and "about" in vars(c))
    return sorted(described, key=lambda metric: metric.__name__)


@pytest.mark.parametrize("metric", metric_classes(), ids=lambda metric: metric.__name__)
def test_metric_is_described(metric):
    assert metric.higher_is_better == metric.about[0].higher_is_better
    for figure in metric.about:
        assert facts(figure.name) == figure
        assert figure.help[0].isupper() and figure.help[-1] != "."
        assert len(figure.sentence()) < 200


def test_no_two_metrics_have_a_figure_of_one_name():
    names = [figure.name for metric in metric_classes() for figure in metric.about]
    assert len(names) == len(set(names))


def test_figures_with_numbers_and_groups_are_found():
    assert facts("hr@10") is facts("hr@k")
    assert facts("attention/aer") is facts("aer")
    assert facts("cc_undefined") is not None
    assert facts("nothing of the kind") is None


def test_sentence_says_what_uniform_and_perfect_maps_score():
    sentence = (
        "Alignment error rate of the links (uniform: of random links; perfect: 0; lower is better)"
    )
    assert facts("aer").sentence() == sentence


def test_a_plugin_declares_its_own():
    class Mine(DescribedMetric):
        about = (Figure("mine", "A figure of mine", higher_is_better=False),)

        def update(self) -> None: ...
        def compute(self) -> dict[str, float]:
            return {}

    assert facts("mine") is Mine.about[0]
    assert Mine.higher_is_better is False
    del KNOWN["mine"]


def test_the_table_of_the_documentation_is_that_of_the_metrics():
    """`python -m docs.tables` writes it."""
    page = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
    own = {f.name for metric in metric_classes() for f in metric.about}
    rows = [
        row for row in figures().splitlines() if row.split("`")[1:2] and row.split("`")[1] in own
    ]
    assert len(rows) == len(own)
    assert [row for row in rows if row not in page] == []
    named = {row.split("`")[1] for row in page.splitlines() if row.startswith("| `")}
    about_runs = {"candidates", "loss", "parameters", "trained_parameters"}
    about_runs |= {"peak_memory_mib", "train_seconds"}
    assert named - own == about_runs | {"aurc", "ece", "ece_scaled", "temperature"}


def test_the_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    interval = bootstrap(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_ninety_percent_intervals_hold_the_truth_about_nine_times_in_ten():
    random = np.random.default_rng(1)
    held = 0
    for i in range(300):
        interval = bootstrap(random.normal(size=60), confidence=0.9, resamples=300, seed=i)
        held += interval.low <= 0 <= interval.high
    assert 0.84 <= held / 300 <= 0.95


def test_intervals_repeat_with_their_seed():
    values = np.arange(20.0)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1) != bootstrap(values)


def test_a_pooled_ratio_is_not_the_mean_of_ratios():
    counts = np.array([[1.0, 1.0]] * 9 + [[0.0, 91.0]])  # nine small perfect examples, one bad
    pooled = bootstrap_pooled(counts, lambda sums: sums[..., 0] / sums[..., 1])
    assert pooled.mean == pytest.approx(0.09)
    assert bootstrap(counts[:, 0] / counts[:, 1]).mean == pytest.approx(0.9)
    assert pooled.low < 0.09 < pooled.high


def test_paired_differences_are_seen_where_unpaired_intervals_overlap():
    random = np.random.default_rng(2)
    hard = random.normal(size=200) * 3  # examples differ much more than systems do
    system, baseline = hard + 0.2 + random.normal(size=200) * 0.1, hard
    apart = bootstrap(system), bootstrap(baseline)
    assert apart[0].low < apart[1].high
    difference, p = paired_bootstrap(system, baseline)
    assert difference.low > 0
    assert p < 0.01
    _, same = paired_bootstrap(hard, hard + random.normal(size=200) * 0.1)
    assert same > 0.05


def test_intervals_over_seeds_are_wider_than_those_over_examples_alone():
    random = np.random.default_rng(3)
    table = random.normal(size=(5, 1)) + random.normal(size=(5, 500)) * 0.1
    over_seeds = bootstrap_seeds(table)
    over_examples = bootstrap(table.mean(0))
    assert over_seeds.mean == pytest.approx(over_examples.mean)
    assert over_seeds.high - over_seeds.low > 3 * (over_examples.high - over_examples.low)


def test_figures_that_are_no_numbers_become_null():
    figures = {"loss": float("inf"), "ends": [0.5, float("nan")], "name": "x", "count": 3}
    assert defined(figures) == {"loss": None, "ends": [0.5, None], "name": "x", "count": 3}


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_share_of_none_or_all_has_an_interval_with_a_width(right: float) -> None:
    """0 of 200: up to 1.9 %, as Wilson (1927) has it."""
    match = ExactMatch()
    match.keep(torch.tensor([[right, 1.0]] * 200))
    found = match.intervals()["exact_match"]
    far = 1.959964**2 / (200 + 1.959964**2)
    assert (found.low, found.high) == pytest.approx((0, far) if right == 0 else (1 - far, 1))


def test_all_answers_right_leave_every_figure_an_interval_with_a_width() -> None:
    metric = Classification(["x", "y"])
    metric.update(["x", "y"] * 50, ["x", "y"] * 50)
    found = metric.intervals()
    assert found["f1_macro"] == found["accuracy"]
    assert 0.95 < found["accuracy"].low < found["accuracy"].high == 1


@pytest.mark.parametrize("right", [0, 3, 20])
def test_the_interval_of_a_share_is_that_of_scipy(right: int) -> None:
    found = share_interval(right / 20, 20)
    expected = binomtest(right, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
