"""Figures with intervals and controls, as rows and as pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attnlab.metrics.figures import paired_bootstrap
from attnlab.metrics.text import ExactMatch
from attnlab.report.summary import (
    differences,
    draw_findings,
    draw_panels,
    draw_rows,
    findings,
    plausibility,
)
from attnlab.report.tables import PER_EXAMPLE, RESAMPLES, save_scores
from attnlab.text_files import read_table
from tests.report.reported import reported

FIGURES = reported("dates", count=3).figures

EXAMPLES = 60


def test_each_figure_stands_beside_its_controls() -> None:
    rows = [row.cells() for row in plausibility(FIGURES)]
    assert rows[0] == ["mass_on_gold", "model", 0.7, 0.65, 0.75]
    assert ["mass_on_gold", "uniform", 0.1, None, None] in rows
    assert len(rows) == 2 * (1 + 5)
    without = FIGURES | {"controls": {"uniform": {"mass_on_gold": 0.1}}}
    rows = [row.cells()[:2] for row in plausibility(without)]
    assert ["pointing_accuracy", "uniform"] not in rows, "a control that lacks a figure has no row"


def test_the_picture_has_a_line_for_each_figure_and_a_mark_for_each_map() -> None:
    [axes] = draw_rows("a title", plausibility(FIGURES)).axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["mass on gold", "pointing accuracy"]
    [legend] = axes.figure.legends
    kinds = ["model", "uniform", "random", "permuted", "position", "oracle"]
    assert [text.get_text() for text in legend.get_texts()] == kinds
    drawn = {line.get_label() for line in axes.lines if line.get_xdata()[0] == 0.1}
    assert drawn == {"uniform"}


def test_pictures_are_files_of_the_run(tmp_path: Path) -> None:
    assert draw_findings(tmp_path) == {}
    test = {"test": "uniform maps", "figure": "answers changed", "value": 0.4, "low": 0.3}
    content = {"tests": [test | {"high": 0.5, "verdict": "It decides."}]}
    (tmp_path / "trust.json").write_text(json.dumps(content))
    [row] = findings(tmp_path)
    assert row.cells() == [
        "uniform maps: answers changed", "model", 0.4, 0.3, 0.5, "It decides.",
    ]  # fmt: skip
    written = draw_panels(FIGURES, tmp_path) | draw_findings(tmp_path)
    assert set(written) == {"plausibility", "trust", "findings"}
    for name, path in written.items():
        assert path == tmp_path / "panels" / f"{name}.png"
        assert path.stat().st_size > 5000


def evaluated(folder: Path, right: np.ndarray) -> ExactMatch:
    """A run with these right answers leaves its tables in a folder."""
    folder.mkdir()
    metric, same = ExactMatch(), ExactMatch()
    metric.update(["yes" if r else "no" for r in right], ["yes"] * len(right))
    same.update(["yes"] * len(right), ["yes"] * len(right))
    losses = [(2.0 * (1 - r), 2.0) for r in right]
    save_scores(folder, [f"e{i}" for i in range(len(right))], losses, [metric], {"uniform": same})
    return metric


@pytest.fixture
def sides() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    first = random.random(EXAMPLES) < 0.5
    return first, first | (random.random(EXAMPLES) < 0.3)


def figures(right: np.ndarray) -> dict[str, dict[str, float]]:
    return {
        "answer": {"exact_match": float(right.mean())},
        "attention": {},
        "trust": {"uniform": 0.0},
    }


def test_it_is_the_paired_bootstrap(tmp_path: Path, sides: tuple[np.ndarray, np.ndarray]):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, right in zip(folders, sides, strict=True):
        evaluated(folder, right)
    found = differences(
        [figures(right) for right in sides],
        [read_table(folder / RESAMPLES, "a command") for folder in folders],
        [read_table(folder / PER_EXAMPLE, "a command")["id"] for folder in folders],
    )
    between, p = paired_bootstrap(sides[1].astype(float), sides[0].astype(float))
    assert [(d.group, d.figure, d.run) for d in found] == [
        ("answer", "exact_match", 1),
        ("trust", "uniform", 1),
    ]
    answer = found[0]
    assert answer.difference == pytest.approx(between.mean)
    assert (answer.low, answer.high) == pytest.approx((between.low, between.high), abs=1e-5)
    assert answer.p == pytest.approx(p, abs=2 / 1001)  # six digits may break ties with zero
    assert found[1].p == 1  # nothing differs


def test_other_examples_are_not_paired(tmp_path: Path, sides: tuple[np.ndarray, np.ndarray]):
    evaluated(tmp_path / "a", sides[0])
    table = read_table(tmp_path / "a" / RESAMPLES, "a command")
    ids = read_table(tmp_path / "a" / PER_EXAMPLE, "a command")["id"]
    found = differences([figures(side) for side in sides], [table, table], [ids, ids[::-1]])
    assert found[0].difference > 0
    assert (found[0].low, found[0].high, found[0].p) == (None, None, None)


def test_the_table_of_examples_means_the_figure(
    tmp_path: Path, sides: tuple[np.ndarray, np.ndarray]
):
    metric = evaluated(tmp_path / "a", sides[1])
    table = read_table(tmp_path / "a" / PER_EXAMPLE, "a command")
    column = np.array(table["exact_match"], float)
    assert column.mean() == pytest.approx(metric.compute()["exact_match"])
    assert np.array(table["loss"], float) == pytest.approx(1 - column)
    assert len(read_table(tmp_path / "a" / RESAMPLES, "a command")["exact_match"]) == 1000
