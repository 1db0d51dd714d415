"""What shows a training: `Progress`, a bar and one line an epoch, and `Cost`, what it takes."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tqdm import tqdm

MIB = 2**20


class Progress(Callback):
    """Prints the same lines with and without a terminal; the bar is shown on a terminal alone.

    epoch 3/5  loss 0.0075  exact match 0.979  mass on gold 0.999  lr 8e-4  * best
    """

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and sys.stderr.isatty():
            total: Any = pl_module.total_steps
            self.bar = tqdm(
                total=total, initial=trainer.global_step, unit="step", leave=False, mininterval=0.5
            )

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, *step: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            tqdm.write(epoch_line(trainer), file=sys.stdout)
            sys.stdout.flush()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close()  # the error message then begins a line

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def epoch_line(trainer: pl.Trainer) -> str:
    """Where training is, its headline figures, and whether the model is the best so far."""
    batches = max(int(trainer.num_training_batches), 1)
    done = (
        trainer.current_epoch + trainer.fit_loop.epoch_loop.batch_progress.current.ready / batches
    )
    end = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    figures = {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
    shown = [f"epoch {done:.3g}{end}"]
    shown += [f"{name} {figures[key]:.4g}" for key, name in _headlines(figures).items()]
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    short = f"{rate:.1e}".replace(".0e", "e").replace("e-0", "e-")  # 8e-4
    shown.append(f"lr {short if 0 < rate < 0.01 else format(rate, '.2g')}")
    if _is_best(trainer):
        shown.append("* best")
    return "  ".join(shown)


def _headlines(figures: dict[str, float]) -> dict[str, str]:
    """The loss, the first figure of answers and the most telling one of maps, with their names."""
    answers = [key for key in figures if key != "loss" and "/" not in key]
    maps = [key for key in figures if key.startswith("attention/")]
    on_gold = [key for key in maps if key == "attention/mass_on_gold"]
    chosen = [*(["loss"] if "loss" in figures else []), *answers[:1], *(on_gold or maps)[:1]]
    return {key: key.rpartition("/")[2].replace("_", " ") for key in chosen}


def _is_best(trainer: pl.Trainer) -> bool:
    """Whether the checkpoint callback, which comes later, is going to keep this model."""
    best = trainer.checkpoint_callback
    if not isinstance(best, ModelCheckpoint) or best.monitor not in trainer.callback_metrics:
        return False
    return bool(best.check_monitor_top_k(trainer, trainer.callback_metrics[best.monitor]))


class PeakMemory:
    """The peak since this was made, of this process: on a GPU what torch holds there, on a CPU all
    of the process, libraries too (some 400 MiB that every run shares).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with contextlib.suppress(OSError):  # Linux alone forgets a peak: see proc(5)
                Path("/proc/self/clear_refs").write_text("5")

    def mib(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MIB
        return _resident_peak() / MIB


def _resident_peak() -> int:
    """In bytes. What `getrusage` says may be that of the process that started this one."""
    status = Path("/proc/self/status")
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if match:
        return int(match[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Cost(pl.Callback):
    """Counts from where it is made; what came before a kill is in the checkpoint it left."""

    def __init__(self, device: torch.device) -> None:
        self.started, self.peak = time.monotonic(), PeakMemory(device)
        self.before = {"train_seconds": 0.0, "peak_memory_mib": 0.0}

    def spent(self) -> dict[str, float]:
        """Up to now, by their names in a run's status."""
        seconds = time.monotonic() - self.started
        return {
            "train_seconds": self.before["train_seconds"] + seconds,
            "peak_memory_mib": max(self.before["peak_memory_mib"], self.peak.mib()),
        }

    def state_dict(self) -> dict[str, Any]:
        return self.spent()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = state_dict
