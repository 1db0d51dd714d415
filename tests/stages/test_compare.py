"""`attnlab compare`, as a user would run it: a sweep, and its leaderboard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from attnlab.errors import ConfigError, UserError
from attnlab.report.leaderboard import COLUMNS
from attnlab.stages.compare import Comparison, first_error, in_folds, main
from tests.commands import SMALL, run, stop_once_saved

FILES = ("html", "csv", "json")


def command(folder: Path, *overrides: str) -> list[str]:
    paths = [f"paths.runs={folder / 'runs'}", f"paths.prepared={folder / 'prepared'}"]
    entry = [sys.executable, "-m", "attnlab", "compare", *SMALL, *paths]
    return [*entry, "experiment=reviews", "dataset.train=64", *overrides]


def board(folder: Path) -> dict[str, Any]:
    [path] = (folder / "runs" / "leaderboards").glob("*/leaderboard.json")
    return json.loads(path.read_text())


# The second of the two ends in a loss that is no number.
RATES = ["trainer.optimizer.lr=3e-3,1e30", "trainer.clip_norm=null"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A comparison of which one run fails: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("compare")
    done = run(command(folder, *RATES))
    assert done.returncode == 1, done.stdout + done.stderr
    return folder, done.stdout, done.stderr


def test_a_failure_is_a_row(compared: tuple[Path, str, str]) -> None:
    folder, output, errors = compared
    good, bad = board(folder)["rows"]
    assert (good["system"], bad["system"]) == ("0.003", "1e+30")
    measures = good["measures"]
    assert set(measures) == set(COLUMNS)
    assert measures["memory"]["mean"] > 100
    assert measures["quality"]["low"] <= measures["quality"]["mean"] <= measures["quality"]["high"]
    assert bad["measures"] == {}
    [failed] = bad["runs"]
    assert failed["state"] == "failed"
    assert failed["error"].startswith("the loss is nan")
    assert Path(failed["log"]).is_file()
    assert failed["log"] in output
    assert "1 of 2 jobs failed" in errors


def test_every_file_is_there_and_named(compared: tuple[Path, str, str]) -> None:
    folder, output, _ = compared
    [place] = (folder / "runs" / "leaderboards").iterdir()
    for name in (*(f"leaderboard.{kind}" for kind in FILES), "pareto.png", "pareto.svg"):
        assert (place / name).stat().st_size > 100
        assert str(place / name) in output
    text = (place / "leaderboard.html").read_text()
    assert "trainer.optimizer.lr on reviews" in text
    assert "report.html" in text, "each run's own page is linked"


def test_what_is_finished_is_picked_up(compared: tuple[Path, str, str]) -> None:
    """Another comparison that the finished run belongs to, with files where they are asked for."""
    folder, _, _ = compared
    good = board(folder)["rows"][0]
    checkpoint = Path(good["runs"][0]["folder"]) / "checkpoints" / "best.ckpt"
    before = checkpoint.stat().st_mtime_ns
    done = run(command(folder, "trainer.optimizer.lr=3e-3", RATES[1], "--output", f"{folder}/one"))
    assert done.returncode == 0, done.stderr
    assert checkpoint.stat().st_mtime_ns == before
    [row] = json.loads((folder / "one" / "leaderboard.json").read_text())["rows"]
    assert row["runs"][0]["state"] == "skipped"
    assert row["system"] == "reviews-recurrent-additive", "nothing varies"
    assert row["measures"] == good["measures"]


def test_mistakes_are_answered_as_in_training(tmp_path: Path) -> None:
    done = run(command(tmp_path, "attention=additive,dott", "seed=0,-1"))
    assert done.returncode == 2
    assert "did you mean 'dot'?" in done.stderr
    assert "seed: -1 is not allowed" in done.stderr
    assert not (tmp_path / "runs").exists(), "nothing was started"


WRONG = {  # and what the message says
    "trainer.max_epoch=3": "did you mean 'max_epochs'?",
    "attention=dot,dott": "did you mean 'dot'?",
    "hydra.launcher.jobbs=2": "hydra.launcher.jobbs",
    "hparams=lr": "search first",
    "stages=[prepare]": "needs train and evaluate",
}


def test_mistakes_are_found_before_torch_is_imported() -> None:
    code = (
        "import sys; from attnlab.cli import main\n"
        f"for wrong in {list(WRONG)}:\n"
        "    assert main(['compare', wrong]) == 2\n"
        "    print('----', file=sys.stderr)\n"
        "assert 'torch' not in sys.modules"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    for message, part in zip(done.stderr.split("----"), WRONG.values(), strict=False):
        assert part in message


def test_systems_are_named_by_what_tells_them_apart() -> None:
    def names(*overrides: str) -> list[tuple[str, int]]:
        found = Comparison(overrides)
        entries = [found._entry(job, {}) for job in found.jobs]
        return [(entry.system, entry.seed) for entry in entries]

    both = names("attention=additive,dot", "seed=3,4", "experiment=reviews")
    assert both == [("additive", 3), ("additive", 4), ("dot", 3), ("dot", 4)]
    assert names("seed=0,1", "attention=dot") == [
        ("dates-recurrent-dot", 0),
        ("dates-recurrent-dot", 1),
    ]
    assert names("attention=dot,general", "model.dim=16,32")[0] == (
        "attention=dot model.dim=16",
        0,
    )
    assert Comparison(["attention=dot,additive"]).title == "attention on dates"


def test_folds_repeat_a_system_as_seeds_do() -> None:
    words = ["dataset=files", "task=classify", "model=recurrent", "attention=additive,dot"]
    found = Comparison([*words, *in_folds(3)])
    entries = [found._entry(job, {}) for job in found.jobs]
    assert [(e.system, e.fold) for e in entries] == [
        (system, fold) for system in ("additive", "dot") for fold in range(3)
    ]
    assert entries[1].repeat == "seed 0, fold 1"
    assert found.config.dataset.splits.test == 1 / 3  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="2 or more"):
        in_folds(1)


def test_the_folder_is_the_same_in_another_order() -> None:
    first = Comparison(["attention=additive,dot", "seed=0,1"]).folder
    assert Comparison(["attention=dot,additive", "seed=1,0"]).folder == first
    assert Comparison(["attention=additive,dot"]).folder != first


@pytest.mark.parametrize(
    ("message", "log", "said"),
    [
        ("exit code 1; log\nmore", "attnlab: the loss is nan\n  try: less\n", "the loss is nan"),
        ("exit code 1; log", "Traceback\n  File x\nValueError: no\n", "ValueError: no"),
        ("exit code 1; log", "a.b.OddError: old\nattnlab: new\n", "new"),
        ("exit code 1; log", "nothing that helps\n", "exit code 1"),
        ("killed by SIGKILL; log\nlast", "attnlab: old\n", "killed by SIGKILL"),
        ("another process is at this job", "", "another process is at this job"),
    ],
)
def test_the_line_that_says_why(tmp_path: Path, message: str, log: str, said: str) -> None:
    (tmp_path / "log.txt").write_text(log)
    assert first_error(message, tmp_path / "log.txt") == said


@pytest.mark.slow
def test_a_comparison_that_is_stopped_goes_on(tmp_path: Path) -> None:
    length = [
        "trainer.max_epochs=-1",
        "trainer.max_steps=4000",
        "trainer.checkpoints.every_steps=20",
    ]
    words = command(tmp_path, "attention=additive,dot", *length)
    printed = stop_once_saved(words, tmp_path / "runs" / "sweeps")
    assert "the same command goes on" in printed
    done = run(words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["runs"][0]["state"] for row in board(tmp_path)["rows"]} == {"finished"}
    logs = [path.read_text() for path in (tmp_path / "runs" / "sweeps").glob("*/log.txt")]
    assert sum("resuming" in text for text in logs) == 1


def test_choices_of_ones_own_folder_can_be_compared(tmp_path: Path) -> None:
    dataset = tmp_path / "my_conf" / "dataset" / "mine.yaml"
    dataset.parent.mkdir(parents=True)
    dataset.write_text("defaults: [reviews, _self_]\nname: mine\n")
    words = ["--config-dir", str(tmp_path / "my_conf"), "dataset=mine", "task=classify"]
    with pytest.raises(ConfigError) as caught:
        main([*words, "attention=additive,dott"])
    assert [mistake.where for mistake in caught.value.mistakes] == ["attention"]
