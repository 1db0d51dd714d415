"""Where the jobs of a sweep run: in processes of this machine.

A place runs a command and waits for its exit code; `attnlab.stages.clusters` holds the places
that are elsewhere. However it is asked to stop, a job gets SIGTERM once, which makes it save.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.5
STILL_RUNNING = 75  # EX_TEMPFAIL: another sweep is at the same job

Watch = Callable[[], bool]  # asked while a job runs; true ends it


class Place(Protocol):
    """Something that runs commands."""

    at_once: int

    def run(self, command: Sequence[str], log: Path, watch: Watch | None = None) -> int:
        """Run one command, what it prints added to the log; returns its exit code."""
        ...

    def stop(self) -> None:
        """Ask everything that runs to save and end; nothing starts any more."""
        ...


class Processes:
    """Processes of this machine, which share its processors, and its GPUs if any are named."""

    def __init__(self, at_once: int = 1, gpus: Sequence[int | str] = ()) -> None:
        self.at_once = at_once
        self._gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for i in range(at_once):
            self._gpus.put(str(gpus[i % len(gpus)]) if gpus else None)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False
        self._change = threading.Lock()

    def run(self, command: Sequence[str], log: Path, watch: Watch | None = None) -> int:
        gpu = self._gpus.get()
        try:
            with held(log.with_name(".lock")) as lock:
                if lock is None:
                    return STILL_RUNNING
                process = self._start(command, log, gpu, lock)
            return self._wait(process, watch)
        finally:
            self._gpus.put(gpu)

    def stop(self) -> None:
        with self._change:
            self._stopping = True
            for process in self._running:
                process.terminate()

    def _start(
        self, command: Sequence[str], log: Path, gpu: str | None, lock: int
    ) -> subprocess.Popen[bytes]:
        """In a session of its own: Ctrl-C reaches this process alone, which passes it on once.

        The process inherits the lock, and with it keeps the job to itself even if we are killed.
        """
        with self._change, log.open("ab") as output:
            if self._stopping:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                command,
                env=self._environment(gpu),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock],
            )
            self._running.add(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes], watch: Watch | None) -> int:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL_SECONDS)
                if watch is not None and watch():
                    process.terminate()
                    watch = None
        finally:
            with self._change:
                self._running.discard(process)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """The processors are shared out, unless the user has said otherwise."""
        threads = max((os.cpu_count() or 1) // self.at_once, 1)
        mine = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ) | mine


@contextlib.contextmanager
def held(path: Path) -> Iterator[int | None]:
    """A lock file, open and locked; None if another process holds it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()
