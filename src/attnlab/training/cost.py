"""Memory as a cost: the most that a piece of work held at once."""

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

MIB = 2**20


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
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) * 1024
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
