"""Callbacks that keep a run from being lost: signals, broken numbers, full memory, random state."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from attnlab.data.batch import Batch
from attnlab.errors import RunError

STEPS_TO_AGREE = 10


class InterruptedRunError(RunError):
    """Somebody asked the run to stop; its state is saved."""


class StopOnSignal(pl.Callback):
    """SIGTERM and Ctrl-C finish the step, save, say how to go on; a second Ctrl-C stops at once.

    A second SIGTERM changes nothing: schedulers send it to a process and to its group.
    """

    LISTENED_TO = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, checkpoint: Path, resume_command: str) -> None:
        self.checkpoint, self.resume_command = checkpoint, resume_command
        self.received = ""
        self.previous: dict[signal.Signals, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.previous = {number: signal.getsignal(number) for number in self.LISTENED_TO}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only now: before, Lightning would put its own handler round ours, which saves nothing."""
        for number in self.LISTENED_TO:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, *step: Any
    ) -> None:
        if not self._stopping(trainer):
            return
        trainer.save_checkpoint(self.checkpoint)
        sender = self.received or "a signal to another process"
        raise InterruptedRunError(
            f"stopped by {sender} at step {trainer.global_step}; saved {self.checkpoint}"
            f"\n  go on with: {self.resume_command}"
        )

    def _stopping(self, trainer: pl.Trainer) -> bool:
        """Processes of one run agree on it, now and then: asking one another takes time."""
        if trainer.world_size == 1:
            return bool(self.received)
        if trainer.global_step % STEPS_TO_AGREE:
            return False
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, previous in self.previous.items():
            signal.signal(number, previous)
        self.previous = {}


class KeepFailedBatch(pl.Callback):
    """A loss that is no number, or memory that does not suffice: the batch is kept to look at."""

    def __init__(self, folder: Path, check_every: int) -> None:
        self.path, self.check_every = folder / "failed_batch.pt", check_every
        self.batch: Batch | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.batch = batch

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *step: Any
    ) -> None:
        # On a GPU each look at the loss waits for the device: not at every step.
        look = pl_module.device.type == "cpu" or trainer.global_step % self.check_every == 0
        if look and not torch.isfinite(outputs["loss"]):
            raise RunError(
                f"the loss is {outputs['loss'].item()} at step {trainer.global_step}; "
                f"the batch is in {self._keep()}"
                "\n  try: a lower trainer.optimizer.lr, or trainer.clip_norm=1.0"
            )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self.batch is not None and is_out_of_memory(exception):
            exception.__notes__ = [*getattr(exception, "__notes__", []), self._keep()]

    def _keep(self) -> str:
        assert self.batch is not None
        batch = self.batch.to("cpu")
        content = {
            "index": batch.index,
            "answer": batch.answer.values,
            "inputs": {name: padded.values for name, padded in batch.inputs.items()},
            "target": batch.target.weights,
        }
        torch.save(content, self.path)
        return str(self.path)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def out_of_memory(error: BaseException) -> RunError:
    """One line for it, with the batch that `KeepFailedBatch` wrote."""
    kept = [note for note in getattr(error, "__notes__", []) if note.endswith(".pt")]
    where = f"; the batch is in {kept[0]}" if kept else ""
    return RunError(
        f"out of memory{where}\n  try: half of trainer.batches.size with trainer.accumulate=2, "
        "then resume=auto"
    )


class RandomState(pl.Callback):
    """Carries the state of the random number generators, so that dropout goes on where it was."""

    def __init__(self) -> None:
        self.restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        name, keys, *rest = np.random.get_state(legacy=True)
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "torch": torch.get_rng_state(),
            "cuda": cuda,
            "numpy": [name, np.asarray(keys).tolist(), *rest],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restored = state_dict

    def on_train_batch_start(self, *step: Any) -> None:  # type: ignore[override]
        """Only now: setting up the loaders draws random numbers that the first run drew earlier."""
        if self.restored is None:
            return
        torch.set_rng_state(self.restored["torch"].cpu())
        if self.restored["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in self.restored["cuda"]])
        np.random.set_state(tuple(self.restored["numpy"]))
        random.setstate(self.restored["python"])
        self.restored = None
