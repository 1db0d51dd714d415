"""Trials: a command of attnlab in a fork of this process, and how it ended.

The imports of torch and Lightning take seconds; a fork has them already, and whatever a hostile
input does to it ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

# The share of all trials that is tried: a few in the default suite, all by `make test-faults`.
SHARE = float(os.environ.get("ATTNLAB_FAULTS", "0.03"))
TRACEBACK = 70  # exit code of a trial that ended in an exception nobody caught
SECONDS = 10  # of a processor; more is a hang
DEADLINE = 60.0  # seconds; other programs may have the processor meanwhile
NEW_MOUNTS, NEW_USER, RECURSIVE_PRIVATE = 0x20000, 0x10000000, 0x44000  # of Linux
MEMORY = 6 << 30  # bytes of address space beyond what the process has


Item = TypeVar("Item")

# table -> row -> column -> how many trials; `tests.faults.table` prints it.
TALLY: dict[str, dict[str, Counter[str]]] = {}


def count(table: str, row: str, column: str) -> None:
    """One trial more."""
    TALLY.setdefault(table, {}).setdefault(row, Counter())[column] += 1


def sample(items: Sequence[Item], least: int) -> list[Item]:
    """The share of them that is tried, spread evenly."""
    wanted = min(len(items), max(least, round(len(items) * SHARE)))
    return [items[number * len(items) // wanted] for number in range(wanted)]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    code: int  # exit code; minus the number of the signal that ended it
    printed: str
    seconds: float  # of a processor
    stopped: bool  # at the deadline

    @property
    def kind(self) -> str:
        """One word for it."""
        if self.stopped or self.seconds >= SECONDS:
            return "hang"
        if self.code == TRACEBACK or "Traceback (most recent call last)" in self.printed:
            return "traceback"
        if self.code < 0:
            return "crash"
        return {0: "done", 1: "failed", 2: "refused"}.get(self.code, "other exit code")

    @property
    def message(self) -> str:
        """The message of a command that did not succeed."""
        lines = self.printed.strip().splitlines()
        begins = [i for i, line in enumerate(lines) if line.startswith("attnlab: ")]
        return "\n".join(lines[begins[-1] :]) if begins else ""


def attempt(work: Callable[[], int | None], folder: Path, seconds: float = DEADLINE) -> Outcome:
    """Do the work in a fork, in a folder; the fork is killed after so many seconds."""
    output = folder / "printed.txt"
    deadline = time.monotonic() + seconds
    process = os.fork()
    if not process:
        _child(work, folder, output)
    code, took = _waited(process, deadline)
    stopped = time.monotonic() > deadline
    return Outcome(code, output.read_text(encoding="utf-8", errors="replace"), took, stopped)


def command(words: Sequence[str], folder: Path, seconds: float = DEADLINE) -> Outcome:
    """The same for a command line of attnlab."""
    from attnlab.cli import main

    return attempt(lambda: main(list(words)), folder, seconds)


def _child(work: Callable[[], int | None], folder: Path, output: Path) -> None:
    """Never returns."""
    code = TRACEBACK
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stderr = os.fdopen(
            2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        os.chdir(folder)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
        code = work() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                code = TRACEBACK
        os._exit(code)


def _waited(process: int, deadline: float) -> tuple[int, float]:
    """The exit code and the seconds of a processor; the process is killed at the deadline."""
    while True:
        done, status, used = os.wait4(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)


def small_disk(folder: Path, size: int) -> None:
    """Mount a disk of so many bytes, for this process alone; for use within a trial."""
    libc = ctypes.CDLL(None, use_errno=True)
    user = os.getuid()
    called = libc.unshare(NEW_MOUNTS if user == 0 else NEW_MOUNTS | NEW_USER)
    private = libc.mount(b"none", b"/", None, ctypes.c_ulong(RECURSIVE_PRIVATE), None)
    options = f"size={size}".encode()
    mounted = libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", ctypes.c_ulong(0), options)
    if called or private or mounted:
        raise OSError(ctypes.get_errno(), "no disk can be mounted", str(folder))


def fill(folder: Path) -> None:
    """Leave not a byte on the disk of a folder."""
    with (folder / "filler").open("ab", buffering=0) as file:
        for block in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * block)


def can_mount(folder: Path) -> bool:
    """Whether this system lets a trial mount a disk."""

    def mount() -> None:
        (folder / "disk").mkdir()
        small_disk(folder / "disk", 1 << 20)

    return attempt(mount, folder).code == 0
