"""W&B offline, read back with W&B's own decoder."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attnlab.config import compose
from attnlab.config.schema import Logger
from attnlab.errors import UserError
from attnlab.learning import dashboard
from tests.commands import environment, small_run

SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "AWS_SECRET_ACCESS_KEY": "a-key-that-must-not-be-seen",
    "ATTNLAB_TEST_VARIABLE": "a-variable-that-must-not-be-seen",
}


def settings(*overrides: str) -> Logger:
    config, _ = compose.load(["logger=wandb", *overrides])
    return config.logger


def logs(run: Path) -> list[Path]:
    """The offline logs of a run, one for each time it was resumed, oldest first."""
    return sorted(run.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime)


@functools.cache
def records(log: Path) -> list[dict[str, Any]]:
    """Everything that a log holds, as `wandb leet inspect` reads it."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(kind: str, log: Path) -> list[dict[str, Any]]:
    return [record[kind] for record in records(log) if record["type"] == kind]


def history(log: Path) -> list[dict[str, Any]]:
    return [item["item"] for item in of_kind("history", log)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, with secrets in its environment."""
    folder = tmp_path_factory.mktemp("dashboard")
    command = small_run(folder, "logger=wandb", f"paths.run={folder / 'run'}")
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | SECRETS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wandb:" not in done.stdout + done.stderr, "nothing asked, nothing said"
    return folder / "run"


def test_scalars_of_training_and_validation(run: Path) -> None:
    [log] = logs(run)
    rows = history(log)
    training = [row for row in rows if "train/loss" in row]
    validation = [row for row in rows if "val/loss" in row]
    assert len(training) >= 1
    assert len(validation) == 1
    assert all("trainer/global_step" in row for row in training + validation)
    assert {"val/exact_match", "val/attention/mass_on_gold"} <= validation[0].keys()


def test_figures_of_the_test_split_are_those_of_the_file(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    summary: dict[str, Any] = {}
    for record in of_kind("summary", logs(run)[0]):
        summary |= record["update"]
    assert summary["test/answer/exact_match"] == pytest.approx(metrics["answer"]["exact_match"])
    shown = summary["controls/uniform/mass_on_gold"]
    assert shown == pytest.approx(metrics["controls"]["uniform"]["mass_on_gold"])


def test_maps_and_the_table_of_examples(run: Path) -> None:
    [log] = logs(run)
    maps = {path.stem for path in (run / "maps").glob("*.png")}
    assert maps, "the run drew no map"
    row = next(row for row in history(log) if "examples._type" in row)
    assert {f"maps/{name}._type" for name in maps} <= row.keys()
    for name in maps:
        picture = log / "files" / row[f"maps/{name}.path"]
        assert picture.read_bytes() == (run / "maps" / f"{name}.png").read_bytes()
    table = json.loads((log / "files" / row["examples.path"]).read_text())
    shown = json.loads((run / "examples.json").read_text())
    assert table["columns"] == ["id", "keys", "gold", "prediction", "mass_on_gold"]
    assert [line[:1] + line[2:4] for line in table["data"]] == [
        [example["id"], example["gold"], example["prediction"]] for example in shown
    ]


def test_config_and_hashes_are_logged(run: Path) -> None:
    [record] = of_kind("run", logs(run)[0])
    about = record["config"]["update"]
    assert about["config"]["attention"]["name"] == "additive"
    assert about["config"]["dataset"]["train"] == 320
    assert len(about["data_digest"]) == 64
    assert about["versions"].keys() >= {"torch", "lightning", "python"}
    assert record["run_id"] == (run / "checkpoints" / "wandb_id.txt").read_text().strip()


def test_neither_secret_nor_environment_nor_machine_is_recorded(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        for name, value in SECRETS.items():
            assert value.encode() not in content, f"{name} stands in {path}"
    [record] = of_kind("run", logs(run)[0])
    assert not record.get("host")
    kinds = {record["type"] for record in records(logs(run)[0])}
    assert "environment" not in kinds
    assert "stats" not in kinds
    names = {path.name for path in files}
    assert not names & {
        "requirements.txt",
        "wandb-metadata.json",
        "output.log",
        "conda-environment.yaml",
    }


def test_a_run_that_ends_well_says_so(run: Path) -> None:
    [end] = of_kind("exit", logs(run)[0])
    assert end.get("exit_code", 0) == 0


def test_a_run_that_fails_is_marked_as_failed(tmp_path: Path) -> None:
    """A loss that is no number stops the run."""
    folder = tmp_path / "run"
    broken = ["trainer.optimizer.lr=1.0e30", "trainer.clip_norm=null", "trainer.log_every=1"]
    command = small_run(tmp_path, "logger=wandb", f"paths.run={folder}", *broken)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    [end] = of_kind("exit", logs(folder)[0])
    assert end["exit_code"] == 1


def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    for part in (1, 2):
        logger = dashboard.connect(settings(), tmp_path, "name", lambda: "abc12345", {"part": part})
        assert logger is not None
        with dashboard.closed_at_end(logger):
            logger.log_metrics({"train/loss": 1.0 / part}, step=part)
    ids = [record["run_id"] for log in logs(tmp_path) for record in of_kind("run", log)]
    assert ids == ["abc12345", "abc12345"]


def test_steps_that_go_back_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    logger = dashboard.connect(settings(), tmp_path, "name", lambda: "abc12345", {})
    assert logger is not None
    steps = [1, 2, 10, 5, 3, 10]
    with dashboard.closed_at_end(logger):
        for step in steps:
            logger.log_metrics({"train/loss": step / 10}, step=step)
    rows = history(logs(tmp_path)[0])
    assert [row["trainer/global_step"] for row in rows] == steps
    assert [row["train/loss"] for row in rows] == [step / 10 for step in steps]


def test_an_error_is_read_back_as_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    logger = dashboard.connect(settings(), tmp_path, "name", lambda: "abc12345", {})
    with pytest.raises(KeyboardInterrupt), dashboard.closed_at_end(logger):
        raise KeyboardInterrupt
    [end] = of_kind("exit", logs(tmp_path)[0])
    assert end["exit_code"] == 1


@pytest.mark.parametrize("rank", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
def test_other_processes_of_a_run_stay_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv(rank, "1")
    assert dashboard.connect(settings(), tmp_path, "name", lambda: "abc12345", {}) is None
    assert not (tmp_path / "wandb").exists()


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    disabled = settings("logger.wandb=disabled")
    assert dashboard.connect(disabled, tmp_path, "name", lambda: "abc12345", {}) is None
    assert not any(tmp_path.iterdir())


def test_online_without_an_account_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="wandb login"):
        dashboard.connect(settings("logger.wandb=online"), tmp_path, "name", lambda: "abc12345", {})
