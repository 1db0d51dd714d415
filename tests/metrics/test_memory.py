"""The peak is that of the work since it began, not of what was before."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from attnlab.metrics.memory import MIB, PeakMemory

LARGE, SMALL = 160, 40  # MiB
CPU = torch.device("cpu")


def hold(mib: int) -> None:
    """Memory that is written to, and given back."""
    torch.ones(mib * MIB // 4)
    gc.collect()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_a_peak_counts_from_where_it_was_made() -> None:
    hold(LARGE)
    peak = PeakMemory(CPU)
    before = peak.mib()
    hold(SMALL)
    grown = peak.mib() - before
    assert SMALL - 8 <= grown <= LARGE - 40


@pytest.mark.gpu
def test_on_a_gpu_it_is_what_torch_holds_there() -> None:
    device = torch.device("cuda")
    peak = PeakMemory(device)
    before = peak.mib()
    torch.ones(SMALL * MIB // 4, device=device)
    assert SMALL <= peak.mib() - before <= SMALL + 2
