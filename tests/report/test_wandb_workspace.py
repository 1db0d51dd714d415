"""The W&B workspace that code makes, as W&B would get it: nothing is sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from attnlab.cli import main
from attnlab.report.summary import read_figures
from attnlab.report.wandb_workspace import Logged, workspace
from attnlab.stages.dashboard import logged
from attnlab.stages.run import open_run
from tests.commands import run, small_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated run, which logs to a project of its own."""
    home = tmp_path_factory.mktemp("workspace")
    words = [f"paths.run={home / 'runs' / 'one' / 'first'}", "model=transformer"]
    command = small_run(home, *words, "logger.project=dates-project")
    assert run(command, home).returncode == 0
    return home / "runs" / "one" / "first"


def sections(about: Logged) -> dict[str, list[dict[str, Any]]]:
    """Panels by section, from the text that would be sent."""
    spec = workspace("somebody", "dates-project", about)._to_model().spec
    bank = json.loads(spec.model_dump_json(by_alias=True))["section"]["panelBankConfig"]
    return {section["name"]: section["panels"] for section in bank["sections"]}


def bars(panels: list[dict[str, Any]]) -> list[list[str]]:
    return [p["config"]["metrics"] for p in panels if p["viewType"] == "Bar Chart"]


def media(panels: list[dict[str, Any]]) -> list[list[str]]:
    return [p["config"]["mediaKeys"] for p in panels if p["viewType"] == "Media Browser"]


def test_classes_have_their_confusion_matrix_and_table() -> None:
    both = Logged(answer=["accuracy"], classes=True) | Logged(answer=["accuracy", "f1_macro"])
    panels = sections(both)["Answer"]
    assert [panel["viewType"] for panel in panels[:2]] == ["Bar Chart"] * 2
    assert media(panels) == [["panels/confusion"]]
    assert len(panels) == 4
    assert len(sections(Logged(answer=["accuracy"]))["Answer"]) == 1


def test_a_figure_stands_beside_the_controls_that_have_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = read_figures(folder)
    figures["answer_controls"] = {"majority": {"accuracy": 0.5}, "linear": {"f1": 0.7}}
    figures |= {"answer": {"accuracy": 0.9, "f1": 0.8}, "attention": {"iou": None}}
    monkeypatch.setattr("attnlab.report.summary.read_figures", lambda _: figures)
    shown = sections(logged(open_run(folder)))
    assert bars(shown["Answer"]) == [
        ["test/answer/accuracy", "answer_controls/majority/accuracy"],
        ["test/answer/f1", "answer_controls/linear/f1"],
    ]
    assert bars(shown["Attention"]) == [], "what has no value is not logged"


def test_every_section_shows_what_the_run_logs(folder: Path) -> None:
    shown = sections(logged(open_run(folder)))
    assert list(shown) == ["Answer", "Attention", "Trust", "Maps", "Training"]
    figures = json.loads((folder / "metrics.json").read_text())
    assert bars(shown["Answer"]) == [
        [
            f"test/answer/{name}",
            *(
                f"answer_controls/{c}/{name}"
                for c, has in figures["answer_controls"].items()
                if name in has
            ),
        ]
        for name in figures["answer"]
    ]
    first, *_ = bars(shown["Attention"])
    name = next(iter(figures["attention"]))
    assert first == [
        f"test/attention/{name}",
        *(f"controls/{control}/{name}" for control in figures["controls"]),
    ]
    assert bars(shown["Trust"]) == [[f"test/trust/{name}"] for name in figures["trust"]]
    pictures = {key for keys in media(shown["Maps"]) for key in keys}
    assert pictures == {f"maps/{path.stem}" for path in (folder / "maps").glob("*.png")}
    loss = next(p for p in shown["Training"] if p["config"]["chartTitle"] == "loss")
    assert set(loss["config"]["metrics"]) == {"train/loss", "val/loss"}
    assert loss["config"]["xAxis"] == "trainer/global_step"


def test_findings_are_shown_where_the_map_was_tested(folder: Path) -> None:
    about = logged(open_run(folder))
    assert ["panels/trust"] in media(sections(about)["Trust"])
    about.explained = True
    assert ["panels/trust", "panels/findings"] in media(sections(about)["Trust"])


def test_runs_of_a_project_share_a_workspace() -> None:
    one = Logged(answer=["accuracy"], maps=["a"])
    both = one | Logged(answer=["accuracy", "f1"], maps=["b"], explained=True)
    assert (both.answer, both.maps, both.explained) == (["accuracy", "f1"], ["a", "b"], True)


@pytest.mark.parametrize("by", ["run", "project"])
def test_without_an_account_one_line_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    home = folder.parents[2]
    monkeypatch.chdir(home)
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(home / "no-netrc"))
    monkeypatch.setenv("HOME", str(home))
    target = {"run": str(folder.relative_to(home)), "project": "dates-project"}[by]
    assert main(["dashboard", target]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "try: wandb login && attnlab sync runs/one/first" in said
    assert said.strip().endswith(f"attnlab dashboard {target}")


def test_an_unknown_target_names_the_projects_there_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parents[2])
    assert main(["dashboard", "dates-projekt"]) == 2
    assert "did you mean 'dates-project'?" in capsys.readouterr().err


def test_it_is_an_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "attnlab.report.wandb_workspace", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    assert main(["dashboard", str(folder)]) == 2
