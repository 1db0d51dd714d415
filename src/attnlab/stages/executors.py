"""Executors of the jobs of a sweep: processes of this machine, SLURM through submitit, and Ray.

An executor runs `python -m MODULE ...` and waits for its exit code. A job that is to stop gets
SIGTERM once, so that it saves. On this machine processes are forked from one that has imported
torch, Lightning and the schemas, which takes seconds. On other machines a job is the same module in
a process of its own, so one that a scheduler cuts off and queues again resumes from its last
checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import queue
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, Protocol

from attnlab.config.section import schema_modules
from attnlab.errors import UserError

PRELOADED = ["attnlab.stages.train", *schema_modules()]
STILL_RUNNING = 75  # EX_TEMPFAIL: another process is at the same job

_forks = multiprocessing.get_context("forkserver")

POLL_SECONDS = 0.5

ShouldStop = Callable[[], bool]  # called while a job runs; true ends it


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
    enter(environment, log, log)
    with exclusive_lock(log.with_name(".lock")) as acquired:
        if not acquired:
            sys.exit(STILL_RUNNING)
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # too late to be read from there
        name, *arguments = module
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def enter(environment: Mapping[str, str], stdout: Path, stderr: Path) -> None:
    """Give a fork an environment of its own, and files that its output is appended to."""
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate((stdout, stderr), start=1):
        with path.open("ab") as file:
            os.dup2(file.fileno(), descriptor)


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


class RemoteModule:
    """A module that is pickled, sent to another machine and called there."""

    def __init__(self, module: Sequence[str], log: Path, folder: Path) -> None:
        self.module, self.log, self.folder = list(module), log, folder
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", *self.module]
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            # Not `wait`: it holds a lock that `end`, called by a signal handler, would wait for.
            while self.process.poll() is None:
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.end()
            raise
        return self.process.returncode

    def checkpoint(self) -> Any:
        """Save, end and queue again; submitit calls it before a time-out or a preemption."""
        from submitit.helpers import DelayedSubmission

        self.end()
        return DelayedSubmission(RemoteModule(self.module, self.log, self.folder))

    def end(self) -> None:
        """Let the process save, and wait until it has ended."""
        if self.process is not None and self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)


class Submitit:
    """Jobs of a SLURM cluster; `local` stands in for one on this machine."""

    def __init__(
        self,
        cluster: Literal["slurm", "local"],
        parallel: int,
        folder: Path,
        settings: dict[str, Any],
    ) -> None:
        import submitit

        self.parallel = parallel
        try:
            self.executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=cluster)
            self.executor.update_parameters(**settings)
        except (
            NameError,
            TypeError,
            RuntimeError,
        ) as error:  # an unknown key; no SLURM
            raise UserError(f"hydra.launcher: {' '.join(str(error).split())}") from None
        self.jobs: list[submitit.Job[int]] = []

    def run(self, module: Sequence[str], log: Path, should_stop: ShouldStop | None = None) -> int:
        from submitit.core.utils import UncompletedJobError

        job = self.executor.submit(RemoteModule(module, log.absolute(), Path.cwd()))
        self.jobs.append(job)
        try:
            return int(job.result())
        except UncompletedJobError as error:
            with log.open("a") as output:
                output.write(f"{error}\n")
            return 1

    def stop(self) -> None:
        for job in self.jobs:
            if not job.done():
                job.cancel()


class Ray:
    """Jobs of a Ray cluster, each with its processors and GPUs."""

    def __init__(self, parallel: int, init: dict[str, Any], remote: dict[str, Any]) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise UserError(
                "hydra/launcher=ray: Ray is not installed; try: pip install 'attnlab[ray]'"
            ) from None
        self.parallel, self.ray = parallel, ray
        ray.init(**init)
        self.remote = ray.remote(max_retries=0, **remote)(_call)
        self.references: list[Any] = []

    def run(self, module: Sequence[str], log: Path, should_stop: ShouldStop | None = None) -> int:
        reference = self.remote.remote(RemoteModule(module, log.absolute(), Path.cwd()))
        self.references.append(reference)
        try:
            return int(self.ray.get(reference))
        except self.ray.exceptions.RayError as error:
            with log.open("a") as output:
                output.write(f"{error}\n")
            return 1

    def stop(self) -> None:
        for reference in self.references:
            self.ray.cancel(reference)


def _call(task: RemoteModule) -> int:
    return task()
