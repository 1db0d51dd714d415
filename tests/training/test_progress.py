"""Lines and bar of a training; the peak is that of the work since it began, not of before."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tqdm import tqdm

from attnlab.errors import InterruptedRunError
from attnlab.training import progress
from attnlab.training.progress import MIB, Cost, PeakMemory, Progress
from tests.runs import train_small

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


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


LINE = re.compile(
    r"epoch 1/1  loss \d\.\d+  exact match [\d.]+  mass on gold [\d.]+  lr \d[\d.]*e-\d  \* best"
)


def test_a_training_that_stops_leaves_no_bar_behind() -> None:
    shown: Any = Progress()
    terminal = Terminal()
    shown.bar = tqdm(total=2, file=terminal, ncols=60, leave=False)
    shown.on_exception(None, None, KeyboardInterrupt())
    assert shown.bar is None
    assert terminal.getvalue().endswith(" \r")


def _stop_at_seven(self: Progress, trainer: pl.Trainer, *step: Any) -> None:
    if trainer.global_step == 7:
        os.kill(os.getpid(), signal.SIGTERM)


def test_one_line_an_epoch_and_one_bar_that_goes_on_where_a_training_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped after 7 of 20 steps: the bar goes on at 7 of 20, and says how much time is left."""
    words = ["stages=[prepare,train]", "trainer.progress=true", f"paths.run={tmp_path / 'run'}"]
    with monkeypatch.context() as patch, pytest.raises(InterruptedRunError):
        patch.setattr(Progress, "on_train_batch_end", _stop_at_seven)
        train_small(tmp_path, *words)
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if "loss" in line] == []
    assert "step" not in err, "no bar where there is no terminal"

    terminal, starts = Terminal(), []

    def bar(**settings: Any) -> tqdm[Any]:
        starts.append((settings["initial"], settings["total"]))
        settings["mininterval"] = 0
        return tqdm(file=terminal, **settings)

    bar.write = tqdm.write  # type: ignore[attr-defined]
    monkeypatch.setattr(progress, "tqdm", bar)
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    train_small(tmp_path, *words, f"resume={tmp_path / 'run'}")
    lines = capsys.readouterr().out.splitlines()
    assert starts == [(7, 20)]
    assert len([line for line in lines if LINE.fullmatch(line)]) == 1
    shown = terminal.getvalue()
    assert "13/20" in shown and re.search(r"\d\d:\d\d<\d\d:\d\d", shown)
    assert "v_num" not in shown
