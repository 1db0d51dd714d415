"""What the frame costs: a training step of `python train.py` beside a bare PyTorch loop.

    python -m benchmarks.overhead

Both train the default experiment: the same model, the same batches, the same losses, the same
optimizer. The frame adds Lightning, logging, callbacks and checkpoints at their default cadence.
Rounds of both alternate in one process, so that a machine that changes its speed hits both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch

from attnlab.config import compose
from attnlab.data.prepared import Prepared
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.stages.trained_run import build_learner
from attnlab.training.data_module import PreparedData
from attnlab.training.history import History
from attnlab.training.learner import Learner
from attnlab.training.trainer import build_trainer, seed_everything
from benchmarks.results import now, record


class Stopwatch(pl.Callback):
    """Seconds from the start of the first counted step to the end of the last."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.started = self.ended = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.warmup:
            self.started = time.perf_counter()

    def on_train_batch_end(self, *step: Any) -> None:  # type: ignore[override]
        self.ended = time.perf_counter()


def frame(run: Run, prepared: Prepared, steps: int, warmup: int) -> float:
    """Seconds of a step with everything that `python train.py` does in it."""
    learner, data = fresh(run, prepared)
    stopwatch = Stopwatch(warmup)
    settings = run.config.trainer
    history = History(run.folder / "history")
    trainer = build_trainer(settings, run.folder, [history], "", [stopwatch])
    trainer.fit(learner, data)
    return (stopwatch.ended - stopwatch.started) / (steps - warmup)


def bare(run: Run, prepared: Prepared, steps: int, warmup: int) -> float:
    """Seconds of a step that only computes."""
    learner, data = fresh(run, prepared)
    settings = run.config.trainer
    learner.trainer = NoTrainer()  # type: ignore[assignment]
    chosen = cast("dict[str, Any]", learner.configure_optimizers())
    optimizer, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    batches = iter(data.train_dataloader())
    started = 0.0
    for step in range(steps):
        if step == warmup:
            started = time.perf_counter()
        loss, _ = learner.losses(next(batches))
        optimizer.zero_grad()
        loss.backward()
        assert settings.clip_norm is not None
        torch.nn.utils.clip_grad_norm_(learner.parameters(), settings.clip_norm)
        optimizer.step()
        schedule.step()
    return (time.perf_counter() - started) / (steps - warmup)


class NoTrainer:
    """What a learner asks of its trainer, in a loop without one."""

    global_step = 0


def fresh(run: Run, prepared: Prepared) -> tuple[Learner, PreparedData]:
    """Model and data as at the start of a run, the data read beforehand."""
    seed_everything(run.config.seed, run.config.trainer)
    data = PreparedData(prepared, run.config.dataset, run.config.trainer, run.config.seed)
    learner = build_learner(run, prepared, data.total_steps())
    return learner.train(), data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=130)
    options = parser.parse_args()
    warmup = 10
    overrides = [f"trainer.max_steps={options.steps}", "trainer.progress=true"]
    config, plain = compose.load(overrides)
    prepared = prepared_data(config)
    ratios, frames, bares = [], [], []
    for number in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder), config, plain)
            one = 1000 * bare(run, prepared, options.steps, warmup)
            other = 1000 * frame(run, prepared, options.steps, warmup)
        if number:  # the first round warms the process up
            bares.append(one)
            frames.append(other)
            ratios.append(other / one)
            print(f"bare {one:.1f} ms, frame {other:.1f} ms", flush=True)
    ratio = statistics.median(ratios)
    table = [
        "| | ms a step (median of rounds) |",
        "|---|---|",
        f"| bare PyTorch loop | {statistics.median(bares):.1f} |",
        f"| `python train.py` | {statistics.median(frames):.1f} |",
        f"| ratio, median of pairs (target at most 1.05) | {ratio:.3f} |",
        f"| ratio, all pairs | {', '.join(f'{r:.3f}' for r in sorted(ratios))} |",
    ]
    title, command = "What the frame costs", "python -m benchmarks.overhead"
    record("overhead", title, command, table, now(prepared.digest))


if __name__ == "__main__":
    main()
