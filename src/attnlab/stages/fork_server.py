"""Python processes that are forked from one which has imported what a run needs.

Importing torch and Lightning takes seconds, which short jobs would spend again and again; a fork
begins where that has been done.
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
# `start` also looks how others have ended, and that may be read only once.
_one_at_a_time = threading.Lock()


class Forked:
    """`python -m MODULE ...` in a session of its own, what it prints added to the log.

    Ctrl-C reaches this process alone, which passes it on. While it runs it holds a lock beside
    the log, and with it keeps the job to itself even if we are killed.
    """

    def __init__(self, module: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        arguments = list(module), log, dict(environment)
        with _one_at_a_time:
            self.process = _forks.Process(target=_run, args=arguments)
            self.process.start()

    def code(self, seconds: float) -> int | None:
        """How it ended, minus the signal's number where it was killed; None while it runs."""
        if not wait([self.process.sentinel], seconds):
            return None
        with _one_at_a_time:
            self.process.join()
            return self.process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()


def _run(module: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """What the fork does."""
    import torch

    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with held(log.with_name(".lock")) as mine:
        if not mine:
            sys.exit(STILL_RUNNING)
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # too late to be read from there
        name, *arguments = module
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether the lock file is ours inside; it is not if another process holds it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
