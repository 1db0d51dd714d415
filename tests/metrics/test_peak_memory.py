"""The peak is that of the work since it began, not of what was before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnlab.metrics.peak_memory import MIB, PeakMemory

LARGE, SMALL = 160, 40  # MiB
# In a process of its own: in this one other tests have left memory that may be given back any time.
GROWTH = f"""
import torch
from attnlab.metrics.peak_memory import MIB, PeakMemory

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
