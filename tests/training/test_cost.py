"""What was spent before a checkpoint counts after it."""

from __future__ import annotations

import pytest
import torch

from attnlab.training import cost
from attnlab.training.cost import Cost


def test_time_goes_on_from_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(cost.time, "monotonic", lambda: now)
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
