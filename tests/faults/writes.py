"""Every write below a folder, seen as it begins by an audit hook of Python.

A hook can never be removed: it is for processes that end soon, such as `trials.attempt` forks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = {"os.rename": 1, "os.remove": 0, "os.truncate": 0}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HALF_A_ROW, HALF_A_FILE = b"7,0.", b'{"half'

Act = Callable[[Path, int], None]  # is given the path, and the flags of open or 0


def on_writes(folder: Path, act: Act) -> None:
    """From now on call `act` before each write, rename or removal below a folder."""
    acting = False

    def see(event: str, values: tuple[Any, ...]) -> None:
        nonlocal acting
        if acting or (event != "open" and event not in CHANGES):
            return
        path, flags = values[CHANGES.get(event, 0)], 0
        if event == "open":
            flags = values[2]
            if isinstance(path, int) or not flags & WRITING:
                return
        path = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100
        if path.is_relative_to(folder):
            acting = True
            try:
                act(path, flags)
            finally:
                acting = False

    sys.addaudithook(see)


def killed_at(number: int, torn: bool) -> Act:
    """What ends this process as kill -9 does at the write of this number, counted from 0.

    Args:
        number: of the write.
        torn: half of a row or of a file is written first, where something is.
    """
    seen = 0

    def act(path: Path, flags: int) -> None:
        nonlocal seen
        seen += 1
        if seen <= number:
            return
        if torn and flags & (os.O_TRUNC | os.O_APPEND):
            whole = flags & os.O_TRUNC
            with path.open("wb" if whole else "ab", buffering=0) as file:
                file.write(HALF_A_FILE if whole else HALF_A_ROW)
        os.kill(os.getpid(), signal.SIGKILL)

    return act
