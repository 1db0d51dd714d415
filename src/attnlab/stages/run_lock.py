"""The lock of a run's folder: one process at a time trains in it.

The operating system holds the lock and frees it when the process ends, however it ends.
`lock.json` says whose it is, and what a killed process left there is taken over. `owner` asks
without locking.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from attnlab.errors import UserError

FILE = "lock.json"
NOT_YET_WRITTEN, CHILDREN_END = 0.5, 10.0  # seconds to wait for either
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_held: dict[Path, IO[str]] = {}  # by resolved folder: the open files that hold the locks


@dataclass(frozen=True)
class Owner:
    """The process that trains in a folder."""

    pid: int
    host: str
    process: str  # when the process started; another one with its pid started at another time
    since: str  # when it took the lock

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), socket.gethostname(), _started(os.getpid()), now)

    def is_gone(self) -> bool:
        """Whether the process has ended; never sure of one on another host."""
        return self.host == socket.gethostname() and _started(self.pid) != self.process

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def acquire(folder: Path) -> None:
    """Lock a folder that exists for this process, until `release` or the end of the process.

    Raises:
        UserError: another process has it.
        OSError: the folder cannot be written to.
    """
    if holds(folder):
        return
    file = _locked(folder)
    left, own = read_owner(folder), Owner.this()
    if left is not None and left.pid != own.pid:
        print(f"{folder}: taken over from {left}, which is gone", file=sys.stderr)
    try:
        file.truncate(0)
        file.write(json.dumps(asdict(own)) + "\n")
        file.flush()
    except OSError:
        with suppress(OSError):  # of the same text once more; the lock is free now
            file.close()
        raise
    _held[folder.resolve()] = file


def release(folder: Path) -> None:
    """Free the lock, if this process has it."""
    file = _held.pop(folder.resolve(), None)
    if file is not None:
        with file:
            if _is_in_place(file, folder):
                (folder / FILE).unlink()


def holds(folder: Path) -> bool:
    """Whether this process has the lock; no longer where the folder was deleted meanwhile."""
    file = _held.get(folder.resolve())
    return file is not None and _is_in_place(file, folder)


def owner(folder: Path) -> Owner | None:
    """The process that trains in the folder now; None if none does, whatever lock.json says."""
    found = read_owner(folder)
    if found is None or holds(folder):
        return found
    try:
        with (folder / FILE).open() as file:
            return None if _try_lock(file, fcntl.LOCK_SH) else found
    except OSError:
        return None


def read_owner(folder: Path) -> Owner | None:
    """What lock.json says; None where there is none, or half of one."""
    try:
        return Owner(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _locked(folder: Path) -> IO[str]:
    """The lock file, locked; waits a moment for children of an owner that was killed."""
    began = time.monotonic()
    while True:
        file = (folder / FILE).open("a+", encoding="utf-8")
        got = _try_lock(file, fcntl.LOCK_EX)
        if got and _is_in_place(file, folder):
            return file
        file.close()
        found = read_owner(folder)
        patience = CHILDREN_END if found is not None and found.is_gone() else NOT_YET_WRITTEN
        if not got and time.monotonic() - began > patience:
            whom = found or "another process"
            raise UserError(f"{folder}: in use by {whom}; try: wait for it, or another folder")
        time.sleep(0.05)


def _try_lock(file: IO[str], kind: int) -> bool:
    """Lock without waiting. Where a file system has no locks, what lock.json says decides."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        found = read_owner(Path(file.name).parent)
        return found is None or found.pid == os.getpid() or found.is_gone()
    return True


def _is_in_place(file: IO[str], folder: Path) -> bool:
    """Whether the open file is still the folder's lock file, not one that was deleted."""
    try:
        there = (folder / FILE).stat()
    except OSError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), there)


def _started(pid: int) -> str:
    """When a process started, in words of the system; "" if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return "" if fields[0] == "Z" else f"{boot} {fields[19]}"
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
