"""`attnlab explain RUN`, as a user would run it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import yaml

from attnlab.config.compose import load
from tests.commands import run
from tests.runs import train_small

FEW = ["examples=6", "samples=8", "steps=2", "trust.permutations=3", "trust.limits=2"]
FEW += ["trust.adversary.steps=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    words = ["experiment=reviews", "stages=[prepare,train]", f"paths.run={folder / 'run'}"]
    train_small(folder, *words, "dataset.train=64")
    return folder / "run"


def explain(folder: Path, *settings: str) -> CompletedProcess[str]:
    return run([sys.executable, "-m", "attnlab", "explain", str(folder), *FEW, *settings])


@pytest.fixture(scope="module")
def printed(trained: Path) -> str:
    done = explain(trained, "trust.training.steps=2")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_says_what_it_will_cost_and_what_it_found(printed: str, trained: Path) -> None:
    first, *rest = printed.splitlines()
    assert first.startswith("6 examples of ")
    assert "11 methods: about" in first
    assert "MiB beside the model" in first
    for words in ("integrated_gradients", "AP with gold", "(position)", "permuted", "95% interval"):
        assert words in printed
    assert "of the answers: the attention" in printed
    assert str(trained / "trust.json") in rest[-1]


def test_explanations_are_written_for_every_example(printed: str, trained: Path) -> None:
    content = json.loads((trained / "explanations.json").read_text())
    assert content["map"] == "pooling"
    assert len(content["examples"]) == 6
    assert set(content["methods"]) == set(content["seconds"]) and len(content["methods"]) == 11
    for example in content["examples"]:
        assert len(example["queries"]) == 1
        assert example["answer"] == example["queries"][0]
        for scores in example["scores"].values():
            assert len(scores) == 1
            assert len(scores[0]) == len(example["keys"])
            assert np.isfinite(scores).all()
    gold = content["agreement"]["average_precision"]
    assert set(gold) == set(content["methods"])
    assert content["agreement"]["controls"]["oracle"] == pytest.approx(1)
    assert len(content["agreement"]["kendall"]) == math.comb(11, 2)


def test_every_test_is_written_with_its_verdict(printed: str, trained: Path) -> None:
    content = json.loads((trained / "trust.json").read_text())
    assert content["verdict"].endswith(".")
    tests = {row["test"] for row in content["tests"]}
    assert {"permuted", "uniform", "frozen", "adversarial", "trained adversary"} <= tests
    assert {"comprehensiveness", "sufficiency", "between limits", "shuffled weights"} <= tests
    assert {"random", "oracle", "position", "frequency", "gradient_input"} <= set(
        content["curves"]["comprehensiveness"]
    )
    for test in tests:
        assert sum(bool(r["verdict"]) for r in content["tests"] if r["test"] == test) == 1


@pytest.mark.slow
def test_the_same_command_gives_the_same_figures(printed: str, trained: Path) -> None:
    before = (trained / "trust.json").read_text()
    assert explain(trained, "trust.training.steps=2").returncode == 0
    assert (trained / "trust.json").read_text() == before


def test_wrong_settings_are_named(trained: Path) -> None:
    done = explain(trained, "exmples=3")
    assert done.returncode == 2
    assert "explain.exmples" in done.stderr
    assert "examples" in done.stderr
    done = explain(trained, "methods=[shapp]")
    assert done.returncode == 2
    assert "explain.methods" in done.stderr


def test_a_task_without_decisions_is_refused(tmp_path: Path) -> None:
    _, plain = load(["experiment=canvas_locate"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    done = explain(tmp_path)
    assert done.returncode == 2
    assert "task.kind: 'locate' makes no decision that could be explained" in done.stderr


def test_mistakes_are_found_before_torch_is_imported(trained: Path) -> None:
    code = (
        "import sys; from attnlab.cli import main; "
        f"code = main(['explain', {str(trained)!r}, 'exmples=3']); "
        "assert code == 2; assert 'torch' not in sys.modules"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
