"""What a sweep shows of its jobs, while they run and at the end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from attnlab.stages.sweep_table import LiveTable, Outcome, announce, differing, latest, show

VALIDATIONS = """step,loss,exact_match,attention/mass_on_gold
10,0.9,0.1,0.2
20,0.5,0.25,0.75
30,0.4"""  # the last line is being written


@pytest.fixture
def running(tmp_path: Path) -> Path:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "val.csv").write_text(VALIDATIONS)
    return tmp_path


def test_the_latest_validation_is_the_last_whole_line(running: Path) -> None:
    assert latest(running) == "step 20  loss 0.5  exact match 0.25  mass on gold 0.75"
    assert latest(running / "nothing yet") == ""


def test_the_live_table_has_each_running_job_with_its_latest_validation(running: Path) -> None:
    outcomes = {
        "a": Outcome("attention=dot", str(running), "running"),
        "b": Outcome("attention=additive", "b"),
        "c": Outcome("attention=general", "c", "finished"),
    }
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=False)
    console.print(LiveTable(outcomes))
    printed = text.getvalue()
    assert "attention=dot" in printed
    assert "exact match 0.25" in printed
    assert "attention=additive" not in printed
    assert "1 running, 1 waiting, 1 finished" in printed


def test_where_there_is_little_room_names_of_jobs_are_cut_alone(running: Path) -> None:
    text = io.StringIO()
    job = Outcome(" ".join(f"key.{i}=0.123456" for i in range(5)), str(running), "running")
    Console(file=text, width=90, force_terminal=False).print(LiveTable({"a": job}))
    header, _, row, *_ = [line for line in text.getvalue().splitlines() if line.strip()]
    assert header.split() == ["job", "seconds", "latest", "validation"]
    assert row.rstrip().endswith("step 20  loss 0.5  exact match 0.25  mass on gold 0.75")


def test_where_the_output_is_no_terminal_nothing_is_redrawn(running: Path) -> None:
    text = io.StringIO()
    with LiveTable({}).shown(Console(file=text, force_terminal=False)):
        pass
    assert text.getvalue() == ""


def test_the_closing_table_has_what_differs_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "attention=additive_with_a_name_that_is_longer_than_the_terminal"
    jobs = [[long, "seed=0", "trainer=short"], ["attention=dot", "seed=0", "trainer=short"]]
    figures = [{"loss": 0.5, "exact_match": 0.25}, {"loss": 0.5, "exact_match": 0.75}]
    outcomes = [Outcome("", str(i), "finished", 1.0, figures=f) for i, f in enumerate(figures)]
    show(outcomes, jobs)
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert header == ["attention", "state", "seconds", "exact_match"]
    assert [long.partition("=")[2], "finished", "1", "0.2500"] in rows


def test_one_job_shows_everything_it_has() -> None:
    assert differing([{"a": 1, "b": 2}]) == ["a", "b"]
    assert differing([{"a": 1, "b": 2}, {"a": 1}]) == ["b"]


def test_a_job_that_ends_is_one_line_with_its_first_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"loss": 0.5, "exact_match": 0.25, "mass_on_gold": 0.75, "auprc": 1.0}
    announce(Outcome("seed=0", "f", "finished", 12.3, figures=figures), "[1/2] ")
    assert capsys.readouterr().out == (
        "[1/2] seed=0: finished (12 s)  exact match 0.2500  mass on gold 0.7500\n"
    )
