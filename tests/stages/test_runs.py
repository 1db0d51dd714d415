"""`attnlab runs`, and `latest` in the place of a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.errors import UserError
from attnlab.stages import run_lock
from attnlab.stages.run_folders import find_runs, run_folder


def made(folder: Path, started: float, state: str = "finished", **figures: float) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    (folder / "status.json").write_text(json.dumps({"state": state, "started": started}))
    if figures:
        groups = ("attention", "trust", "controls", "answer_controls", "intervals", "cost")
        content = {"answer": figures} | {group: {} for group in groups}
        (folder / "metrics.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Runs from the latest to the oldest, wherever they lie below runs/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")  # nothing is cut for it
    return [
        made(Path("runs/sweeps/seed=0-with-a-name-that-is-rather-long"), 3e9, "running"),
        made(Path("runs/dates/20260101-120000"), 2e9, loss=0.5, exact_match=0.25),
        made(Path("runs/dates/20250101-120000"), 1e9, "failed"),
    ]


def test_runs_are_found_wherever_they_lie_the_latest_first(three: list[Path]) -> None:
    for other in ("wandb/files", "evaluations/top"):  # which have a config.yaml of their own
        (three[1] / other).mkdir(parents=True)
        (three[1] / other / "config.yaml").write_text("")
    assert find_runs() == three


def test_latest_is_the_run_that_was_started_last(three: list[Path]) -> None:
    assert run_folder("latest") == three[0]
    assert run_folder(three[1]) == three[1]


def test_latest_passes_over_runs_in_which_nothing_was_trained(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in three[1:]:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").write_text("")
    assert run_folder("latest") == three[1]
    line = f"latest: {three[1]}; nothing was trained in {three[0]} (died)\n"
    assert capsys.readouterr().err == line
    assert run_folder("latest", trained=False) == three[0], "what goes on, and what is examined"
    assert run_folder("latest", beside=three[1].absolute()) == three[2], "no run is its own teacher"
    assert capsys.readouterr().err.startswith(f"latest: {three[2]}; ")


def test_without_runs_there_is_no_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="latest: no runs below runs"):
        run_folder("latest")
    assert main(["runs"]) == 2
    assert "runs: no runs in it" in capsys.readouterr().err


def test_each_run_has_a_whole_line(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if "runs/" in line]
    assert [row[-1] for row in rows] == [str(folder) for folder in three]
    assert [row[2] for row in rows] == ["died", "finished", "failed"], "nobody holds the first"
    assert rows[1][3:6] == ["exact", "match", "0.2500"], "the loss says little on its own"


def test_a_run_that_goes_on_is_running(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_lock.acquire(three[0])
    try:
        assert main(["runs"]) == 0
    finally:
        run_lock.release(three[0])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if str(three[0]) in line]
    assert line.split()[2] == "running"


def test_only_the_latest_are_listed_unless_all_are_wanted(
    three: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnlab.stages.runs.SHOWN", 2)
    main(["runs"])
    assert "2 of 3 runs; all of them: attnlab runs --all" in capsys.readouterr().out
    main(["runs", "--all", "--below", "runs/dates"])
    printed = capsys.readouterr().out
    assert (printed.count("runs/dates/"), "of" in printed) == (2, False)
