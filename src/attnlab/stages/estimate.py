"""`attnlab estimate`: memory and time that a training will take, from a few steps of it.

    attnlab estimate experiment=tones
    attnlab estimate --config-dir my_conf dataset=mails task=classify trainer.batches.size=64

It prepares the data as training would, and keeps them. Then it trains in a temporary folder for
some ten seconds: first the largest batch, which needs the most memory, then others as they come.
Their times are extended to all batches of an epoch by how many units each has. What else runs on
the machine counts, as it will in the training. The evaluation after training is not included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from attnlab.config.schema import Config
from attnlab.data.loader import BatchOrder, Numbers
from attnlab.data.prepared import Prepared
from attnlab.errors import ConfigError, Mistake, RunError
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.stages.trained_run import build_learner, device, load_teacher
from attnlab.training.data_module import PreparedData
from attnlab.training.progress import MIB, PeakMemory
from attnlab.training.safety import is_out_of_memory, out_of_memory
from attnlab.training.trainer import build_trainer, seed_everything

FROM_CONFIG = "memory and time that a training will take"
SECONDS, LEAST, MOST = 10.0, 12, 400  # of measured training, and how many steps
WARM_UP = 3  # steps that count for memory alone
VALIDATED = 8  # batches of validation that are measured


@dataclass(frozen=True)
class Estimate:
    """What a training will take, on this machine as it is now."""

    steps: int  # optimizer steps of the whole training
    step_seconds: float
    validations: int
    validation_seconds: float  # of each
    start_seconds: float  # until the first step
    peak_mib: float
    parameters: int
    measured: int  # batches

    @property
    def seconds(self) -> float:
        """The figure that a run's table calls `seconds of training`."""
        validated = self.validations * self.validation_seconds
        return self.start_seconds + self.steps * self.step_seconds + validated


def main(config: Config, plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Measure, and print what the training will take."""
    if config.trainer.devices * config.trainer.num_nodes > 1:
        problem = (
            "one process is measured; each of several has about its memory and its steps' time"
        )
        raise ConfigError([Mistake("trainer.devices", problem, "try: trainer=cpu, or trainer=gpu")])
    prepared = prepared_data(config)
    estimate = measure(config, plain, prepared)
    print("\n".join(described(estimate, config)))


def described(estimate: Estimate, config: Config) -> Iterator[str]:
    """The lines that the command prints."""
    where = device(config)
    steps = f"{estimate.steps:,} steps of {1000 * estimate.step_seconds:.3g} ms"
    validations = f"{estimate.validations} validations of {estimate.validation_seconds:.2g} s"
    stops = [
        each.kind for each in config.trainer.callbacks.values() if each.kind == "early_stopping"
    ]
    less = "; early stopping may end it before" if stops else ""
    yield f"  time        {duration(estimate.seconds)}: {steps}, {validations}{less}"
    kind = "of GPU memory" if where.type == "cuda" else "of the process"
    yield f"  memory      {estimate.peak_mib:,.0f} MiB {kind} at the peak"
    yield f"  parameters  {estimate.parameters:,}"
    threads = f", {torch.get_num_threads()} threads" if where.type == "cpu" else ""
    how = f"{config.trainer.precision} on {where.type}{threads}"
    yield f"  measured    {estimate.measured} batches in {how}"
    if where.type == "cuda":
        yield from advice(estimate.peak_mib, torch.cuda.mem_get_info()[1] / MIB, config)


def advice(peak: float, available: float, config: Config) -> Iterator[str]:
    """What to set where a training does not fit a GPU, or would fit it better."""
    share, size = peak / available, config.trainer.batches.size
    yield f"  GPU         {share:.0%} of {available:,.0f} MiB"
    if config.trainer.precision == "32-true":
        yield "              trainer.precision=bf16-mixed: about half the memory of activations"
    if share > 0.9 and size > 1:
        half = (
            f"trainer.batches.size={size // 2} trainer.accumulate={2 * config.trainer.accumulate}"
        )
        yield f"              {half}: the same steps in about half the memory"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 20 min`."""
    if seconds < 200:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def measure(config: Config, plain: dict[str, Any], prepared: Prepared) -> Estimate:
    """Train for a while in a temporary folder, which leaves nothing.

    Raises:
        RunError: the largest batch does not fit the memory.
    """
    silent = {"progress": False, "fast_dev_run": False, "profile": False}
    settings = config.trainer.model_copy(update=silent)
    started = time.monotonic()
    peak = PeakMemory(device(config))
    seed_everything(config.seed, settings)
    with TemporaryDirectory() as folder:
        data = SampledData(prepared, config.dataset, settings, config.seed)
        steps = data.total_steps()
        run = Run(Path(folder), config, plain)
        learner = build_learner(run, prepared, steps)
        learner.teacher = load_teacher(run, data)
        watch = StepTimes()
        trainer = build_trainer(settings, run.folder, [], "", [watch])
        trainer.limit_val_batches = VALIDATED
        try:
            trainer.fit(learner, data)
            began = watch.first - started
            seconds, batches = _validation(trainer, learner, data)
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(error) from error
            raise
    if not watch.times:
        raise RunError("estimate: no step was measured; try: a larger dataset")
    units = np.array([data.units[number] for number, _ in watch.times])
    fitted = extended(units, np.array([each for _, each in watch.times]), data.units[1:])
    epochs = steps * settings.accumulate / (len(data.units) - 1)
    return Estimate(
        steps,
        fitted * settings.accumulate,
        max(int(epochs / settings.validate_every), 0),
        seconds / batches * len(data.val_dataloader()),
        began,
        peak.mib(),
        sum(parameter.numel() for parameter in learner.parameters()),
        len(watch.times),
    )


def extended(units: Numbers, seconds: np.ndarray, every: Numbers) -> float:
    """The mean time of all batches, from those of some: a fixed part, and one for each unit."""
    spread = np.ptp(units) > 0.1 * units.mean()
    slope, fixed = np.polyfit(units, seconds, 1) if spread and len(units) > 5 else (0, 0)
    if slope <= 0 or fixed < 0:  # noise: the time for each unit alone
        return float(seconds.sum() / units.sum() * every.mean())
    return float(slope * every.mean() + fixed)


def _validation(trainer: pl.Trainer, learner: Any, data: Any) -> tuple[float, int]:
    """Seconds of some batches of validation, and how many those are."""
    began = time.monotonic()
    trainer.validate(learner, data, verbose=False)
    return time.monotonic() - began, min(VALIDATED, len(data.val_dataloader()))


class LargestFirst(BatchOrder):
    """The batches of an order, after the largest of them."""

    batches: list[list[int]]

    def __len__(self) -> int:
        return len(self.batches)

    def _batches(self) -> list[list[int]]:
        return self.batches


class SampledData(PreparedData):
    """The data of a training, whose first batch is the largest."""

    units: Numbers  # of each batch of the first epoch, the largest first: examples x longest side

    def _order(self, rank: int, world: int) -> BatchOrder:
        usual = super()._order(rank, world)
        if self.trainer is None:  # while steps are counted
            return usual
        sizes, batches = self.split("train").sizes.max(1), list(usual)
        counts = np.array([len(batch) * sizes[batch].max() for batch in batches])
        largest = int(counts.argmax())
        order = LargestFirst(sizes, 1, 1, self.seed, rank, world)
        order.batches = [batches[largest], *batches]
        self.units = np.array([counts[largest], *counts])
        return order


class StepTimes(pl.Callback):
    """Seconds from the start of a step to that of the next; ends training when it has enough."""

    def __init__(self) -> None:
        self.times: list[tuple[int, float]] = []  # number of the batch, seconds
        self.first, self.last, self.since = 0.0, 0.0, 0.0

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        if not self.first:
            self.first = now
        if batch_idx == WARM_UP and not trainer.current_epoch:
            self.since = now
        if batch_idx > (0 if trainer.current_epoch else WARM_UP):
            self.times.append((batch_idx - 1, now - self.last))
        self.last = now

    def on_train_batch_end(self, trainer: pl.Trainer, *step: Any) -> None:  # type: ignore[override]
        count = len(self.times)
        enough = count >= LEAST and time.monotonic() - self.since > SECONDS
        if enough or count >= MOST:
            trainer.should_stop = True
