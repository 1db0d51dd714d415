"""Executors of the jobs of a sweep: in processes of this machine.

An executor runs `python -m MODULE ...` and waits for its exit code; `attnlab.stages.clusters` has
those of other machines. A job that is to stop gets SIGTERM once, so that it saves.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from attnlab.stages.fork_server import ForkedProcess

POLL_SECONDS = 0.5

ShouldStop = Callable[[], bool]  # called while a job runs; true ends it


class Executor(Protocol):
    """Runs modules, some in parallel."""

    parallel: int

    def run(self, module: Sequence[str], log: Path, should_stop: ShouldStop | None = None) -> int:
        """Run a module with its arguments, output appended to the log; returns its exit code."""
        ...

    def stop(self) -> None:
        """Let all running modules save and end; no other starts."""
        ...


class Processes:
    """Processes of this machine, which share its processors, and its GPUs if any are named."""

    def __init__(self, parallel: int = 1, gpus: Sequence[int | str] = ()) -> None:
        self.parallel = parallel
        self._gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for i in range(parallel):
            self._gpus.put(str(gpus[i % len(gpus)]) if gpus else None)
        self._running: set[ForkedProcess] = set()
        self._stopping = False
        self._change = threading.Lock()

    def run(self, module: Sequence[str], log: Path, should_stop: ShouldStop | None = None) -> int:
        gpu = self._gpus.get()
        try:
            return self._wait(self._start(module, log, gpu), should_stop)
        finally:
            self._gpus.put(gpu)

    def stop(self) -> None:
        with self._change:
            self._stopping = True
            for process in self._running:
                process.terminate()

    def _start(self, module: Sequence[str], log: Path, gpu: str | None) -> ForkedProcess:
        with self._change:
            if self._stopping:
                raise KeyboardInterrupt
            process = ForkedProcess(module, log, self._environment(gpu))
            self._running.add(process)
        return process

    def _wait(self, process: ForkedProcess, should_stop: ShouldStop | None) -> int:
        try:
            while (code := process.code(POLL_SECONDS)) is None:
                if should_stop is not None and should_stop():
                    process.terminate()
                    should_stop = None
            return code
        finally:
            with self._change:
                self._running.discard(process)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """An equal share of the processors, unless OMP_NUM_THREADS is set, and one GPU."""
        threads = max((os.cpu_count() or 1) // self.parallel, 1)
        device = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ) | device
