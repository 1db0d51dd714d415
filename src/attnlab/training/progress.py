"""What a person sees while training: a bar on a terminal, a line for each validation elsewhere."""

from __future__ import annotations

import sys
import time

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar


def progress(refresh: int) -> Callback:
    """The one that suits where the output goes."""
    return TQDMProgressBar(refresh_rate=refresh) if sys.stderr.isatty() else ProgressLines()


class ProgressLines(Callback):
    """One line after each validation, for logs."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        figures = {
            name.removeprefix("val/"): f"{float(value):.4g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        shown = "  ".join(f"{name} {value}" for name, value in figures.items())
        seconds = time.monotonic() - self.started
        print(f"epoch {trainer.current_epoch + 1}  {seconds:.0f} s  {shown}", flush=True)
