"""Every metric says what its figures mean, and which way is better."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import attnlab.metrics
from attnlab.metrics.facts import KNOWN, Figure, facts, table
from attnlab.metrics.pooled import DescribedMetric


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
    """`python -c "from attnlab.metrics.facts import table; print(table())"` makes it."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    own = {f.name for metric in metric_classes() for f in metric.about}
    rows = [row for row in table().splitlines() if row.split("`")[1:2] and row.split("`")[1] in own]
    assert len(rows) == len(own)
    assert [row for row in rows if row not in page] == []
    named = {row.split("`")[1] for row in page.splitlines() if row.startswith("| `")}
    assert named - own == {"candidates", "loss", "parameters", "peak_memory_mib", "train_seconds"}
