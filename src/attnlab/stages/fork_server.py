"""Python processes that are forked from one that has imported torch and Lightning.

The imports take seconds, which every short job would otherwise spend again.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path

PRELOADED = ["attnlab.stages.train"]
STILL_RUNNING = 75  # EX_TEMPFAIL: another process is at the same job

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(PRELOADED)
# `start` also reaps other processes, whose exit code can be read only once.
_one_at_a_time = threading.Lock()


class ForkedProcess:
    """`python -m MODULE ...` in a session of its own, with its output appended to the log.

    The session keeps Ctrl-C away from it: the parent decides. While it runs it holds a lock beside
    the log, so that no other process runs the job, even if the parent is killed.
    """

    def __init__(self, module: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        arguments = list(module), log, dict(environment)
        with _one_at_a_time:
            self.process = _forks.Process(target=_run, args=arguments)
            self.process.start()

    def code(self, seconds: float) -> int | None:
        """The exit code, or minus the number of the signal that killed it; None while it runs."""
        if not wait([self.process.sentinel], seconds):
            return None
        with _one_at_a_time:
            self.process.join()
            return self.process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()


def _run(module: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run the module in the fork."""
    import torch

    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with exclusive_lock(log.with_name(".lock")) as acquired:
        if not acquired:
            sys.exit(STILL_RUNNING)
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # too late to be read from there
        name, *arguments = module
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Yields whether this process holds the lock file; false if another one does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
