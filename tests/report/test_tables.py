"""Tables for `dvc plots`, and what a task that makes no choice leaves for DVC."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import yaml

from attnlab.config.compose import load
from attnlab.metrics.figures import Figure
from attnlab.report.summary import Finding
from attnlab.report.tables import (
    ORDERS,
    explanations,
    save_figures,
    save_findings,
    save_metrics,
)
from attnlab.text_files import read_table
from tests.commands import REPOSITORY, run
from tests.report.reported import reported

FOUND = [
    Finding("permuted: answers changed", "model", 0.54, 0.4, 0.7, "It decides."),
    Finding("permuted: median change of the output", "model", 0.3),
    Finding("tau with gradient x input: Kendall's tau", "model", None),
]


def test_closing_figures_are_those_of_the_run(tmp_path: Path) -> None:
    figures = reported("dates").figures
    save_figures(figures, tmp_path)
    answer = read_table(tmp_path / "plots" / "answer.csv", "a command")
    assert answer == {
        "figure": ["exact match"], "value": ["0.6"], "low": ["0.5"], "high": ["0.7"],
    }  # fmt: skip
    attention = read_table(tmp_path / "plots" / "attention.csv", "a command")
    assert attention["figure"] == ["mass on gold", "pointing accuracy"]
    assert [float(value) for value in attention["value"]] == [0.7, 0.8]
    trust = read_table(tmp_path / "plots" / "trust.csv", "a command")
    assert dict(zip(trust["figure"], trust["value"], strict=True)) == {
        "changed by a uniform map": "0.9",
        "changed by a permuted map": "0.8",
    }


def test_findings_are_shares_and_curves(tmp_path: Path) -> None:
    curves = {"comprehensiveness": {"attention": [0.1, 0.3], "random": [0.0, 0.1]}}
    save_findings(FOUND, curves, [0.1, 0.5], tmp_path)
    tests = read_table(tmp_path / "plots" / "tests.csv", "a command")
    assert (tests["figure"], tests["value"]) == (["permuted: answers changed"], ["0.54"])
    erasure = read_table(tmp_path / "plots" / "erasure.csv", "a command")
    assert tuple(erasure) == ("erased", *ORDERS)
    assert (erasure["erased"], erasure["attention"]) == (["0.1", "0.5"], ["0.1", "0.3"])
    assert all(math.isnan(float(value)) for value in erasure["leave_one_out"])


def test_metrics_are_named_by_test_and_figure(tmp_path: Path) -> None:
    save_metrics(FOUND, tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "permuted": {"answers_changed": 0.54, "median_change_of_the_output": 0.3},
        "tau_with_gradient_x_input": {"Kendall's_tau": None},
    }


def test_a_task_that_makes_no_choice_leaves_every_file_of_the_stage(tmp_path: Path) -> None:
    _, plain = load(["experiment=canvas_locate"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    params = str(REPOSITORY / "params.yaml")
    done = run([sys.executable, "-m", "attnlab", "explain", str(tmp_path), "--params", params])
    assert done.returncode == 0, done.stderr
    assert "makes no decision" in done.stdout
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["explain"]
    named = [*stage["outs"], *stage["metrics"], *stage["plots"]]
    for name in named:
        assert (tmp_path / name.removeprefix("${run}/")).is_file(), name


def test_each_figure_is_explained_under_the_table_with_what_can_be_reached() -> None:
    """Gold of four keys a row and one link a row: a recall of a quarter is the best there is."""
    about = {
        "alignment_recall": Figure("", "Share of the sure gold links that are found").plain(),
        "aer": Figure("", "Alignment error rate of the links", False, "by chance", "0").plain(),
        "mass_on_gold": Figure("", "Weight on marked keys", uniform="share marked").plain(),
    }
    figures = {
        "answer": {"unknown": 1.0},
        "attention": dict.fromkeys(about, 0.2),
        "controls": {"oracle": {"alignment_recall": 0.25, "aer": 0.6, "mass_on_gold": 1.0}},
        "about": about,
    }
    assert list(explanations(figures)) == [
        "alignment_recall: Share of the sure gold links that are found (perfect: 1; higher is "
        "better); here no map scores above 0.2500",
        "aer: Alignment error rate of the links (uniform: by chance; perfect: 0; lower is better); "
        "here no map scores below 0.6000",
        "mass_on_gold: Weight on marked keys (uniform: share marked; perfect: 1; higher is better)",
    ]
