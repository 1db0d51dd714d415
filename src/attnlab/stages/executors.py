"""Where the jobs of a sweep run: in processes of this machine.

A place runs `python -m MODULE ...` and waits for its exit code; `attnlab.stages.clusters` holds the
places that are elsewhere. However it is asked to stop, a job gets SIGTERM once, which makes it
save.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from attnlab.stages.fork_server import Forked

POLL_SECONDS = 0.5

Watch = Callable[[], bool]  # asked while a job runs; true ends it


class Place(Protocol):
    """Something that runs modules."""

    at_once: int

    def run(self, module: Sequence[str], log: Path, watch: Watch | None = None) -> int:
        """Run one with its arguments, what it prints added to the log; returns its exit code."""
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
        self._running: set[Forked] = set()
        self._stopping = False
        self._change = threading.Lock()

    def run(self, module: Sequence[str], log: Path, watch: Watch | None = None) -> int:
        gpu = self._gpus.get()
        try:
            return self._wait(self._start(module, log, gpu), watch)
        finally:
            self._gpus.put(gpu)

    def stop(self) -> None:
        with self._change:
            self._stopping = True
            for process in self._running:
                process.terminate()

    def _start(self, module: Sequence[str], log: Path, gpu: str | None) -> Forked:
        with self._change:
            if self._stopping:
                raise KeyboardInterrupt
            process = Forked(module, log, self._environment(gpu))
            self._running.add(process)
        return process

    def _wait(self, process: Forked, watch: Watch | None) -> int:
        try:
            while (code := process.code(POLL_SECONDS)) is None:
                if watch is not None and watch():
                    process.terminate()
                    watch = None
            return code
        finally:
            with self._change:
                self._running.discard(process)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """The processors are shared out, unless the user has said otherwise."""
        threads = max((os.cpu_count() or 1) // self.at_once, 1)
        mine = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ) | mine
