"""What a training takes: time and memory."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch

from attnlab.metrics.peak_memory import PeakMemory


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
