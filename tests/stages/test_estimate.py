"""`attnlab estimate`: what it says of a training, beside what the training takes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.errors import RunError
from attnlab.stages import estimate
from attnlab.stages.estimate import advice, duration, extended
from attnlab.stages.prepare import prepared_data
from tests.commands import run, small

MEASURED = {  # trainings of different kinds and lengths of batches
    "dates": ["dataset.train=5000", "trainer.max_epochs=3"],
    "reviews": ["trainer.max_epochs=2"],
    "canvas_classify": ["trainer.max_epochs=3"],
}


def test_it_says_what_a_training_takes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    words = small(tmp_path, "trainer.max_epochs=7", "trainer.threads=1")
    assert main(["estimate", *words]) == 0
    said = capsys.readouterr().out
    assert re.search(r"time +\d+ s: 140 steps of [\d.]+ ms, 7 validations of [\d.]+ s\n", said)
    memory = re.search(r"memory +([\d,]+) MiB of the process at the peak", said)
    assert memory is not None
    assert 200 < int(memory[1].replace(",", "")) < 4000
    assert re.search(r"measured +\d+ batches in 32-true on cpu, 1 threads", said)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


def test_the_largest_batch_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, plain = load(small(tmp_path, "trainer.max_epochs=1", "trainer.threads=1"))
    found: list[list[int]] = []
    kept = estimate.SampledData._order

    def order(self: estimate.SampledData, rank: int, world: int) -> estimate.BatchOrder:
        made = kept(self, rank, world)
        if isinstance(made, estimate.LargestFirst):
            found.append(self.units.tolist())
            assert len(made) == len(self.units) == 21
        return made

    monkeypatch.setattr(estimate.SampledData, "_order", order)
    monkeypatch.setattr(estimate, "MOST", 2)
    estimate.measure(config, plain, prepared_data(config))
    assert found[-1][0] == max(found[-1][1:])


def test_times_are_extended_by_the_units_of_a_batch() -> None:
    random = np.random.default_rng(0)
    every = random.integers(100, 1000, 200)
    cost = 0.01 + 1e-4 * every
    assert extended(every[:20], cost[:20], every) == pytest.approx(cost.mean())
    same = np.full(20, 64)
    assert extended(same, np.full(20, 0.5), same) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds", "said"), [(48.2, "48 s"), (700, "12 min"), (12_000, "3 h 20 min")]
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_training_that_hardly_fits_a_gpu_gets_smaller_batches_that_add_up() -> None:
    config, _ = load(["trainer.batches.size=64", "trainer.accumulate=2"])
    said = "\n".join(advice(19_000, 20_000, config))
    assert "95% of 20,000 MiB" in said
    assert "trainer.batches.size=32 trainer.accumulate=4" in said
    assert "bf16-mixed" in said
    mixed, _ = load(["trainer.precision=bf16-mixed"])
    assert list(advice(100, 20_000, mixed)) == ["  GPU         0% of 20,000 MiB"]


def test_several_processes_and_no_batches_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "trainer=ddp_sim", *small(tmp_path)]) == 2
    assert "trainer.devices: one process is measured" in capsys.readouterr().err
    monkeypatch.setattr(estimate.StepTimes, "on_train_batch_start", lambda *step: None)
    config, plain = load(small(tmp_path, "trainer.max_epochs=1"))
    with pytest.raises(RunError, match="no step was measured"):
        estimate.measure(config, plain, prepared_data(config))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("experiment", MEASURED)
def test_it_is_within_a_quarter_of_what_the_training_takes(tmp_path: Path, experiment: str) -> None:
    """Side by side with nothing else on the machine; each in a process of its own."""
    words = [f"experiment={experiment}", *MEASURED[experiment], "logger=files"]
    words += ["stages=[prepare,train,evaluate]", f"paths.prepared={tmp_path}"]
    program = [sys.executable, "-m", "attnlab"]
    estimated = run([*program, "estimate", *words])
    assert estimated.returncode == 0, estimated.stderr
    total = re.search(r"time +(\d+) (s|min):", estimated.stdout)
    memory = re.search(r"memory +([\d,]+)", estimated.stdout)
    assert total and memory
    trained = run([*program, "train", *words, f"paths.run={tmp_path / 'run'}"])
    assert trained.returncode == 0, trained.stderr
    cost = json.loads((tmp_path / "run" / "metrics.json").read_text())["cost"]
    mib, seconds = float(memory[1].replace(",", "")), float(total[1])
    seconds *= 60 if total[2] == "min" else 1
    print(f"{experiment}: {seconds:.0f} s and {mib:.0f} MiB of {cost}")
    assert 0.75 < seconds / cost["train_seconds"] < 1.25
    assert 0.75 < mib / cost["peak_memory_mib"] < 1.25
