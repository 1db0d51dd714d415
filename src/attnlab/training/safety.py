"""Callbacks that keep a run from being lost: signals, NaN losses, full memory, random state."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from attnlab.data.batch import Batch
from attnlab.errors import InterruptedRunError, RunError
from attnlab.training.distributed import gather

STEPS_TO_AGREE = 10


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: every so many steps, and where SIGTERM, SIGHUP or Ctrl-C stops the run.

    A second Ctrl-C stops at once; a second SIGTERM changes nothing, because schedulers send it to a
    process and to its group.

    The file always holds a finished step: after the callbacks before this one (averages), after
    the last of accumulated batches, and, on a step that validates, after the validation, so that
    a resumed run neither repeats nor loses it. It has to be the last of all callbacks.
    """

    LISTENED_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, path: Path, every_steps: int, resume_command: str) -> None:
        self.path, self.every_steps, self.resume_command = path, every_steps, resume_command
        self.saved_step = 0
        self.waiting = False  # for the validation of the step at hand
        self.received = ""
        self.previous: dict[signal.Signals, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.previous = {number: signal.getsignal(number) for number in self.LISTENED_TO}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only now: before, Lightning would wrap this handler in its own, which saves nothing."""
        self.saved_step = trainer.global_step
        for number in self.LISTENED_TO:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, idx: int
    ) -> None:
        if (idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        self.waiting = validates_after(trainer, idx)
        if not self.waiting:
            self._finish_step(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.waiting:
            self.waiting = False
            self._finish_step(trainer)

    def _finish_step(self, trainer: pl.Trainer) -> None:
        stopping = self._stopping(trainer)
        due = trainer.global_step % self.every_steps == 0 and trainer.global_step > self.saved_step
        trying = trainer.fast_dev_run  # type: ignore[attr-defined]
        if (due and not trying) or stopping:
            trainer.save_checkpoint(self.path)
            self.saved_step = trainer.global_step
        if stopping:
            sender = self.received or "a signal to another process"
            raise InterruptedRunError(
                f"stopped by {sender} at step {trainer.global_step}; saved {self.path}"
                f"\n  go on with: {self.resume_command}"
            )

    def _stopping(self, trainer: pl.Trainer) -> bool:
        """All ranks vote every `STEPS_TO_AGREE` steps; an all-reduce at each would be slow."""
        if trainer.world_size == 1:
            return bool(self.received)
        if trainer.global_step % STEPS_TO_AGREE:
            return False
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, previous in self.previous.items():
            signal.signal(number, previous)
        self.previous = {}


def validates_after(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a validation follows this training batch."""
    every = trainer.check_val_every_n_epoch or 1
    if not trainer.enable_validation or (trainer.current_epoch + 1) % every:
        return False
    return (batch_idx + 1) % int(trainer.val_check_batch or 1) == 0


class KeepFailedBatch(pl.Callback):
    """Keeps the batch of a loss that is NaN or infinite, or that memory does not suffice for."""

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
        # On a GPU reading the loss waits for the device: not at every step.
        checked = pl_module.device.type == "cpu" or trainer.global_step % self.check_every == 0
        if checked and not torch.isfinite(outputs["loss"]):
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
    """Carries the state of the random number generators, so that dropout goes on where it was.

    Every process has a state of its own; the checkpoint holds those of all ranks.
    """

    def __init__(self) -> None:
        self.restored: list[dict[str, Any]] = []
        self.started = False

    def state_dict(self) -> dict[str, Any]:
        return {"ranks": gather(self._own())}

    def _own(self) -> dict[str, Any]:
        name, keys, *rest = np.random.get_state(legacy=True)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, np.asarray(keys).tolist(), *rest],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restored = state_dict.get("ranks", [state_dict])  # older ones hold the first rank's
        own = self._own()
        # Tried now: what is no state is refused before training.
        for state in (*self.restored, own):
            self._restore(state)

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, *step: Any
    ) -> None:
        """Only now: setting up the loaders draws random numbers that the first run drew earlier."""
        rank = trainer.global_rank
        if rank < len(self.restored):
            self._restore(self.restored[rank])
        elif rank and not self.started:  # all were seeded alike, to build the same model
            torch.manual_seed(torch.initial_seed() + rank)
        self.restored, self.started = [], True

    def _restore(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
        np.random.set_state(tuple(state["numpy"]))
        random.setstate(state["python"])
