"""`attnlab new`: the project that it writes trains, with the checkout and with the built wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attnlab.cli import main
from attnlab.stages.run_start import FOLDER_VARIABLE
from tests.commands import REPOSITORY, environment, run

TRAIN = ["train", "--config-dir", "conf", "experiment=mails", "trainer.max_epochs=1"]


def _run(command: list[str], variables: dict[str, str], folder: Path) -> Any:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | variables,
        check=False,
    )


@pytest.mark.usefixtures("forgotten_plugins")
def test_a_new_project_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["new", "my project"]) == 0
    assert "try: cd 'my project' && attnlab train" in capsys.readouterr().out
    project = tmp_path / "my project"
    assert (project / "README.md").read_text().startswith("# my project\n")
    assert (project / ".gitignore").is_file()
    monkeypatch.chdir(project)
    assert main([*TRAIN, "model.dim=16", "model.embedding_dim=16"]) == 0
    [metrics] = project.glob("runs/mails-recurrent-sharp/*/metrics.json")
    assert json.loads(metrics.read_text())["answer"].keys() >= {"accuracy"}
    assert main(["params", "--config-dir", "conf", "experiment=mails"]) == 0
    first = (project / "params.yaml").read_text().splitlines()[0]
    assert first == "# attnlab params --config-dir=conf experiment=mails", "no path of this machine"


def test_what_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "mine" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert main(["new", str(kept.parent)]) == 2
    said = capsys.readouterr().err
    assert said == f"attnlab: {kept.parent}: is there already, and not empty; try: another name\n"
    assert [path.name for path in kept.parent.iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_alone_makes_a_project_whose_pipeline_runs(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    built = run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(REPOSITORY)])
    assert built.returncode == 0, built.stderr[-2000:]
    [wheel] = tmp_path.glob("attnlab-*.whl")
    installed = tmp_path / "installed"
    target = ["--no-deps", "--target", str(installed)]
    assert run([*pip, "install", *target, str(wheel)]).returncode == 0
    path = f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {"PYTHONPATH": str(installed), "PATH": path}
    where = "import attnlab; from attnlab.config.section import config_dir as c; print(c())"
    printed = _run([sys.executable, "-c", where], variables, tmp_path)
    assert printed.stdout.strip() == str(installed / "attnlab" / "conf")
    project = tmp_path / "a new project"
    for command in (
        ["attnlab", "new", str(project)],
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "repro", "-q"],
        ["attnlab", "predict", "runs/dvc", "Hello, parcel 123 is late."],
    ):
        folder = project if project.is_dir() else tmp_path
        done = _run(command, variables, folder)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    assert json.loads(done.stdout)["predictions"][0]["answer"] == "delivery"
    assert (project / "runs" / "dvc" / "report.html").is_file()
