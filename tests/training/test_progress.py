"""The peak is that of the work since it began, not of what was before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnlab.training import progress
from attnlab.training.progress import MIB, Cost, PeakMemory

LARGE, SMALL = 160, 40  # MiB
# In a process of its own: in this one other tests have left memory that may be given back any time.
GROWTH = f"""
import torch
from attnlab.training.progress import MIB, PeakMemory

def hold(mib):
    torch.ones(mib * MIB // 4)

hold({LARGE})
peak = PeakMemory(torch.device("cpu"))
before = peak.mib()
hold({SMALL})
print(peak.mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_a_peak_counts_from_where_it_was_made() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=False
    )
    assert SMALL - 8 <= float(ended.stdout) <= LARGE - 40, ended.stderr


@pytest.mark.gpu
def test_on_a_gpu_it_is_what_torch_holds_there() -> None:
    device = torch.device("cuda")
    peak = PeakMemory(device)
    before = peak.mib()
    torch.ones(SMALL * MIB // 4, device=device)
    assert SMALL <= peak.mib() - before <= SMALL + 2


def test_time_goes_on_from_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    killed = Cost(torch.device("cpu"))
    now = 130.0
    left = killed.state_dict()
    now = 500.0  # what happened after the checkpoint is lost, the time until it goes on is none
    resumed = Cost(torch.device("cpu"))
    resumed.load_state_dict(left)
    now = 512.0
    assert resumed.spent()["train_seconds"] == pytest.approx(30 + 12)


def test_the_larger_peak_is_the_peak() -> None:
    found = Cost(torch.device("cpu"))
    alone = found.spent()["peak_memory_mib"]
    assert alone > 100, "the libraries alone"
    found.load_state_dict({"train_seconds": 0.0, "peak_memory_mib": 10 * alone})
    assert found.spent()["peak_memory_mib"] == 10 * alone
    found.load_state_dict({"train_seconds": 0.0, "peak_memory_mib": alone / 10})
    assert found.spent()["peak_memory_mib"] >= alone
