"""The trials themselves: what must not happen would be seen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attnlab.training.safety import RandomState
from tests.faults import test_kills
from tests.faults.trials import attempt


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: int("x"), "traceback"),
        (lambda: time.sleep(60), "hang"),
        (spin, "hang"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crash"),
        (lambda: 2, "refused"),
        (lambda: 1, "failed"),
        (lambda: None, "done"),
    ],
)
def test_how_a_command_may_end(work: Callable[[], int | None], kind: str, tmp_path: Path) -> None:
    assert attempt(work, tmp_path, seconds=1).kind == kind


@pytest.mark.slow
def test_a_resume_that_forgets_something_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RandomState, "_restore", lambda self, state: None)
    monkeypatch.setattr(test_kills, "count", lambda *cell: None)
    with pytest.raises(AssertionError, match="killed at write"):
        test_kills.swept("one process", tmp_path, 3)
