"""Callbacks of a training: optional ones, `trainer.callbacks.NAME` by kind, and `Progress`.

Optional ones are built as `CLASS(trainer_settings, **own_settings)`. They run before checkpoints
are written.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tqdm import tqdm

from attnlab.config.trainer import Trainer as Settings


class Ema(callbacks.EMAWeightAveraging):
    """An exponential moving average of the weights; it is validated and kept as the model."""

    def __init__(self, trainer: Settings, *, decay: float) -> None:
        super().__init__(decay=decay)


class Swa(callbacks.WeightAveraging):
    """The mean of the weights over the last part of training (Izmailov et al. 2018)."""

    def __init__(self, trainer: Settings, *, start: float, every_steps: int) -> None:
        super().__init__()
        self.start, self.every_steps = start, every_steps
        self.first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first = int(self.start * pl_module.total_steps)  # type: ignore[operator]

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None:
            return False
        return step_idx >= self.first and (step_idx - self.first) % self.every_steps == 0


class EarlyStopping(callbacks.EarlyStopping):
    """Ends training when the monitored figure no longer improves."""

    def __init__(self, trainer: Settings, *, patience: int, min_delta: float) -> None:
        best = trainer.checkpoints
        super().__init__(best.monitor, mode=best.mode, patience=patience, min_delta=min_delta)


class GradientNorm(pl.Callback):
    """Logs the norm of the gradient before it is clipped, as `train/grad_norm`."""

    def __init__(self, trainer: Settings) -> None:
        self.every = trainer.log_every

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        if trainer.global_step % self.every:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        for logger in trainer.loggers:
            logger.log_metrics({"gradient/norm": norm}, trainer.global_step)


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
    shown.append(f"lr {trainer.optimizers[0].param_groups[0]['lr']:.2g}")
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
