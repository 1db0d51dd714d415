"""The C kernel: compiled once on the user's machine in half a second, kept in a cache folder.

Plain C through the system's compiler, rather than torch.compile: it takes half a second instead
of half a minute, serves every shape, and is kept from run to run.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("additive.c")
LANES = 16  # keys are padded to a multiple of this, as in the source

# Sums may be reordered and quotients made of reciprocals; the rest of -ffast-math stays off,
# because linking with it changes how the whole process treats the smallest numbers.
FLAGS = [
    *("-O3", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"),
    *("-fassociative-math", "-freciprocal-math", "-fno-signed-zeros", "-ffinite-math-only"),
]
TUNED = (["-march=native", "-mprefer-vector-width=512"], ["-march=native"], ["-mcpu=native"], [])


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where there is no compiler or no folder to write to."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None or os.name != "posix":
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(compiler: str) -> Path:
    """The shared library for this source, compiler and processor; compiled where it is missing."""
    described = SOURCE.read_bytes() + f"{compiler} {FLAGS} {TUNED} {_processor()}".encode()
    target = _cache_dir() / f"additive-{hashlib.sha256(described).hexdigest()[:16]}.so"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        compiled = Path(folder) / target.name
        for tuned in TUNED:
            command = [compiler, *FLAGS, *tuned, str(SOURCE), "-o", str(compiled)]
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            if done.returncode == 0:
                compiled.replace(target)  # at once, so that another process finds all or nothing
                return target
    raise OSError(f"{compiler} does not compile {SOURCE.name}")


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "attnlab"


def _processor() -> str:
    """What native code depends on: a cache folder may be shared by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="attnlab")


def function(name: str, dtype: torch.dtype) -> Callable[..., None]:
    """`forward` or `backward` for fp32 or fp64; calls let other Python threads run."""
    compiled = library()
    if compiled is None:
        raise RuntimeError("there is no compiled kernel; ask `library()` first")
    real = {torch.float32: "float", torch.float64: "double"}[dtype]
    return getattr(compiled, f"{name}_{real}")


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Where a contiguous tensor begins."""
    return ctypes.c_void_p(tensor.data_ptr())


def split_work(problems: int, queries: int, work: int) -> list[tuple[int, int, int, int]]:
    """(first, last problem, from, to query) for each thread: problems are divided if there
    are enough, their queries otherwise. Little work is not worth a second thread."""
    threads = max(1, min(torch.get_num_threads(), work // 200_000))
    if threads == 1:
        return [(0, problems, 0, queries)]
    if problems >= threads:
        cuts = _cuts(problems, threads)
        return [(a, b, 0, queries) for a, b in cuts]
    return [(0, problems, a, b) for a, b in _cuts(queries, threads)]


def _cuts(total: int, count: int) -> list[tuple[int, int]]:
    edges = [total * n // count for n in range(count + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def run_all(tasks: Sequence[Callable[[], None]]) -> None:
    """Run tasks side by side, the first in this thread."""
    if len(tasks) == 1:
        tasks[0]()
        return
    waiting = [_workers(torch.get_num_threads()).submit(task) for task in tasks[1:]]
    tasks[0]()
    for future in waiting:
        future.result()
