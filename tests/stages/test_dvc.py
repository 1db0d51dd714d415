"""DVC on a fresh clone: no remote, no network, nothing that was there before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import REPOSITORY, SHORT_DATES, SMALL

pytest.importorskip("dvc", reason="the extra 'dvc' is not installed")

BIN = Path(sys.executable).parent
KEPT = (
    "src",
    "conf",
    "data",
    ".dvc/config",
    ".dvc/plots",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
FILES = ("data.dvc", "dvc.yaml", "dvc.lock", "params.yaml", "train.py", "pyproject.toml")
STAGES = ["prepare", "train", "evaluate", "explain", "report"]
# What `attnlab explain` takes its time for.
FEW = [
    "explain.methods=[attention,gradient_input]",
    "explain.steps=2",
    "explain.trust.permutations=3",
    "explain.trust.limits=1",
    "explain.trust.adversary.steps=2",
]
SIZES = [*SMALL, SHORT_DATES, *FEW]
BARS = {
    "is the answer good",
    "is the attention right",
    "answers that other maps change",
    "answers that other maps change, of those explained",
}
CURVES = {
    "loss over training",
    "attention on gold over training",
    "cost of erasing what a map points to",
}
PICTURES = {f"runs/dvc/panels/{name}.png" for name in ("plausibility", "trust", "findings")}


class Clone:
    """A fresh clone of the project, as a user gets it, with a small params.yaml committed."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        origin = folder.with_name("origin")
        _copy_tracked(origin)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "project"]):
            self._git(*command, cwd=origin)
        self._git("clone", "-q", str(origin), str(folder), cwd=origin)
        self.run("attnlab", "params", *SIZES, *overrides)
        self.git("commit", "-qam", "small")

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the clone; returns what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        text = done.stdout + done.stderr
        assert done.returncode == code, f"{command}: {done.returncode}\n{text}"
        return text

    def git(self, *words: str) -> str:
        return self._git(*words, cwd=self.folder)

    def _git(self, *words: str, cwd: Path) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, *words]
        done = subprocess.run(command, cwd=cwd, env=self.env, capture_output=True, text=True)  # noqa: PLW1510
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def env(self) -> dict[str, str]:
        """The clone's own code, no cache of the user's, an identity for DVC's commits."""
        names = {
            f"GIT_{who}_{what}": "test@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        mine = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder.with_name("site")),
            "COLUMNS": "120",
        }
        return dict(os.environ) | mine | names

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text())

    def stages_run(self, text: str) -> list[str]:
        return [
            line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")
        ]


def _copy_tracked(folder: Path) -> None:
    """The project's files as they are now, committed or not, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *KEPT, *FILES]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the pipeline ran once."""
    made = Clone(tmp_path_factory.mktemp("dvc") / "clone")
    ran = made.run("dvc", "repro")
    assert made.stages_run(ran) == STAGES
    return made


def test_a_fresh_clone_is_reproduced(clone: Clone) -> None:
    run = clone.folder / "runs" / "dvc"
    metrics = clone.json("runs/dvc/metrics.json")
    assert {"answer", "attention", "trust", "controls"} <= metrics.keys()
    assert (run / "report.html").stat().st_size > 1000
    assert list((run / "maps").glob("*.png"))
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text())
    assert set(lock["stages"]) == set(STAGES)
    changed = {line[3:] for line in clone.git("status", "--porcelain").splitlines()}
    assert changed <= {"dvc.lock"}, "nothing else is left for git"


def test_a_second_time_does_nothing(clone: Clone) -> None:
    text = clone.run("dvc", "repro")
    assert clone.stages_run(text) == []
    assert "up to date" in text


def test_metrics_are_those_of_the_report(clone: Clone) -> None:
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json"))[""]["data"]
    values = {Path(name).name: entry["data"] for name, entry in shown.items()}
    metrics = clone.json("runs/dvc/metrics.json")
    for group in ("answer", "attention", "trust", "cost"):
        assert values["metrics.json"][group] == metrics[group]
    found = {t["test"]: t["value"] for t in clone.json("runs/dvc/trust.json")["tests"][::-1]}
    trust = values["trust_metrics.json"]
    assert trust["permuted"]["answers_changed"] == found["permuted"]
    assert {"uniform", "frozen", "comprehensiveness", "sufficiency"} <= trust.keys()


def test_plots_are_those_of_the_report(clone: Clone) -> None:
    plots = json.loads(clone.run("dvc", "plots", "show", "--json", "-o", "shown"))
    assert not plots.get("errors")
    assert plots["data"].keys() >= (BARS | CURVES | PICTURES)
    maps = {f"runs/dvc/maps/{p.name}" for p in (clone.folder / "runs/dvc/maps").iterdir()}
    assert maps and maps <= plots["data"].keys()
    trust = clone.json("runs/dvc/metrics.json")["trust"]
    assert drawn(plots, "answers that other maps change") == {
        f"changed by a {name} map": pytest.approx(value, abs=1e-5) for name, value in trust.items()
    }
    tests = drawn(plots, "answers that other maps change, of those explained")
    assert {name.partition(":")[0] for name in tests} >= {"permuted", "uniform", "frozen"}
    [curve] = plots["data"]["cost of erasing what a map points to"]
    assert {point["field"] for point in points(curve)} >= {"attention", "random"}


def points(plot: dict[str, Any]) -> list[dict[str, Any]]:
    """What a plot draws."""
    content = plot["content"]
    content = json.loads(content) if isinstance(content, str) else content
    return content["data"]["values"]


def drawn(plots: dict[str, Any], name: str) -> dict[str, float]:
    """The bars of a plot."""
    [plot] = plots["data"][name]
    return {point["figure"]: float(point["value"]) for point in points(plot)}


def test_a_user_s_own_data_are_kept_and_hashed(clone: Clone) -> None:
    mine = clone.folder / "data" / "mine" / "sentences.tsv"
    mine.parent.mkdir()
    mine.write_text("one\ttwo\n")
    before = (clone.folder / "data.dvc").read_text()
    assert "data" in clone.run("dvc", "status", "data.dvc")
    text = clone.run("dvc", "repro", "prepare")
    assert clone.stages_run(text) == ["prepare"]
    assert mine.read_text() == "one\ttwo\n"
    assert (clone.folder / "data" / "README.md").is_file()
    after = (clone.folder / "data.dvc").read_text()
    assert before != after, "the new hash is noted"
    assert "up to date" in clone.run("dvc", "status", "data.dvc")
    clone.run("dvc", "checkout", "--force")
    assert mine.read_text() == "one\ttwo\n", "a checkout neither deletes nor overwrites"
    mine.write_text("changed\n")
    clone.run("dvc", "commit", "--force", "data.dvc")
    assert mine.read_text() == "changed\n"
    assert (clone.folder / "data.dvc").read_text() != after


def test_a_stale_params_yaml_is_refused(clone: Clone) -> None:
    path = clone.folder / "conf" / "model" / "base.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("dropout: ", "dropout: 0.01  # was "))
        text = clone.run("dvc", "repro", code=255)
    finally:
        path.write_text(before)
    assert "params.yaml: stale" in text
    assert "try: attnlab params" in text
    assert "Traceback" not in text


def test_a_wrong_experiment_ends_in_the_line_that_attnlab_says(clone: Clone) -> None:
    text = clone.run("dvc", "exp", "run", "-S", "attention=dott", code=255)
    assert "attention: no option 'dott'; did you mean 'dot'?" in text
    assert len(text.strip().splitlines()) <= 3, "that, and where DVC gives help"


@pytest.mark.slow
def test_experiments_of_another_config(clone: Clone) -> None:
    """`exp run -S` composes from `conf/`: the small sizes have to be said again."""
    small = [word for override in [*SIZES, "attention=dot"] for word in ("-S", override)]
    clone.git("add", "-A")
    clone.git("commit", "-qm", "reproduced", "--allow-empty")
    text = clone.run("dvc", "exp", "run", "-n", "with-dot", *small)
    assert "train" in clone.stages_run(text)
    diff = json.loads(clone.run("dvc", "metrics", "diff", "HEAD", "--json"))
    changed = diff["runs/dvc/metrics.json"]
    assert {"trust.uniform", "trust.permuted", "cost.train_seconds"} & changed.keys()
    assert any(name.startswith("attention.") for name in changed)
    assert "comprehensiveness.area" in diff["runs/dvc/trust_metrics.json"]
    plots = json.loads(clone.run("dvc", "plots", "diff", "HEAD", "--json", "-o", "compared"))
    assert plots["data"].keys() >= (BARS | CURVES | PICTURES)
    both = {"workspace", "HEAD"}
    for name in BARS | CURVES:
        [plot] = plots["data"][name]
        assert {point["rev"] for point in points(plot)} == both
    for picture in PICTURES:
        assert {rev for each in plots["data"][picture] for rev in each["revisions"]} == both
    clone.git("checkout", "-q", ".")

    queued = [word for override in SIZES for word in ("-S", override)]
    clone.run("dvc", "exp", "run", "--queue", "-S", "attention=scaled_dot,general", *queued)
    clone.run("dvc", "queue", "start", "-j", "2")
    end = time.monotonic() + 240
    while "Running" in (shown := clone.run("dvc", "queue", "status")) or "Queued" in shown:
        assert time.monotonic() < end, shown
        time.sleep(2)
    assert shown.count("Success") == 2, shown
    table = clone.run("dvc", "exp", "show", "--csv")
    for name in ("dot", "scaled_dot", "general"):
        assert f",{name}," in table
    for column in ("trust.uniform", "permuted.answers_changed", "mass_on_gold"):
        assert column in table.splitlines()[0]


@pytest.mark.slow
def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    """kill -9 in the middle of the training; the next `dvc repro` goes on from the checkpoint."""
    long = ["trainer.max_epochs=-1", "trainer.max_steps=1500", "trainer.checkpoints.every_steps=20"]
    clone = Clone(tmp_path / "clone", *long)
    started = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=clone.folder,
        env=clone.env,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 90
    while not (clone.folder / "runs" / "dvc" / "checkpoints" / "last.ckpt").is_file():
        assert started.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert clone.json("runs/dvc/status.json")["state"] == "running"
    assert "resuming" in clone.run("dvc", "repro", "train")
    assert clone.json("runs/dvc/status.json")["state"] == "finished"
