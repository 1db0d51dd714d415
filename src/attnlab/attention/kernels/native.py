"""The C kernels: compiled once on the user's machine in two seconds, kept in a cache folder.

Plain C through the system's compiler, rather than torch.compile: it takes two seconds instead
of half a minute, serves every shape, and is kept from run to run.

A library is loaded only if this user owns it, in a folder that is closed to others, and if its
content has the hash that its name says. It gets this name once a child process has called it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

SOURCES = [
    Path(__file__).with_name(f"{name}.c")
    for name in ("additive", "block_sparse", "map_statistics", "choice_loss")
]
HEADER = Path(__file__).with_name("vectors.h")
LOG2 = 0.6931471805599453  # logits of the kernels are in units of it
LANES = 16  # keys are padded to a multiple of this, as in the source

# Sums may be reordered and quotients made of reciprocals; the rest of -ffast-math stays off,
# because linking with it changes how the whole process treats the smallest numbers.
FLAGS = [
    *("-O3", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"),
    *("-fassociative-math", "-freciprocal-math", "-fno-signed-zeros", "-ffinite-math-only"),
]
TUNED = (["-march=native", "-mprefer-vector-width=512"], ["-march=native"], ["-mcpu=native"], [])


# Calls all functions on a few numbers, in a process that may crash.
TRIAL = """
import ctypes, math, struct, sys
library = ctypes.CDLL(sys.argv[1])
keys, hidden = 80, 3
sizes = [ctypes.c_long(n) for n in (0, 1, 0, 1, 1, 1, keys, hidden)]
q, w = [0.3, -0.7, 0.1], [1.0, -2.0, 0.5]
k = [[math.sin(d + j) for j in range(keys)] for d in range(hidden)]
expected = [sum(w[d] * math.tanh(q[d] + k[d][j]) for d in range(hidden)) for j in range(keys)]
slopes = [sum(1 - math.tanh(q[d] + k[d][j]) ** 2 for j in range(keys)) for d in range(hidden)]
for name, real in (("float", ctypes.c_float), ("double", ctypes.c_double)):
    a = (real * hidden)(*(math.exp(2 * x) for x in q))
    b = (real * (hidden * keys))(*(math.exp(2 * x) for row in k for x in row))
    energy, out, ones = (real * hidden)(*w), (real * keys)(), (real * keys)(*[1.0] * keys)
    getattr(library, "forward_" + name)(a, b, energy, out, *sizes)
    assert all(abs(x - y) < 1e-4 for x, y in zip(out, expected))
    dq, dk, dw = (real * hidden)(), (real * (hidden * keys))(), (real * hidden)()
    getattr(library, "backward_" + name)(a, b, energy, ones, dq, dk, dw, *sizes)
    assert all(abs(x - y * z) < 1e-3 for x, y, z in zip(dq, slopes, w))
    # two blocks of queries without content, which weigh all keys of both blocks alike
    length, width = 20, 16
    whole, row = real * (length * width), real * length
    integers = ((0, 2, 4), (0, 1, 0, 1), (-1,) * 4)
    starts, listed, tile = ((ctypes.c_int * len(each))(*each) for each in integers)
    lists = lambda: struct.pack(
        "11qd7P", 16, length, length, width, width, 1, 1, 1, 0, 0, 1, 0.25,
        *map(ctypes.addressof, (starts, listed, tile)), 0, 0, 0,
        ctypes.addressof(ctypes.c_long.from_buffer(counter)),
    )
    value = whole(*(math.sin(n) for n in range(length * width)))
    mean = [sum(value[d::width]) / length for d in range(width)]
    context, top, total, mass = whole(), row(), row(), (real * 4)()
    counter = bytearray(8)
    attend = getattr(library, "attend_" + name)
    attend(lists(), whole(), whole(), value, context, top, total, mass)
    assert all(abs(x - mean[n % width]) < 1e-5 for n, x in enumerate(context))
    counter = bytearray(8)
    grad, units, delta = whole(*[1.0] * (length * width)), row(*[math.log2(length)] * length), row()
    dq, dk, dv = whole(), whole(), whole()
    back = getattr(library, "attend_back_" + name)
    back(lists(), whole(), whole(), value, grad, units, delta, dq, dk, dv)
    assert all(abs(x - 1) < 1e-5 for x in dv)
    # the map of queries without content gives each key a mass of 1
    counter, places = bytearray(8), (ctypes.c_long * length)(*range(length))
    maps = struct.pack(
        "15qd2q2PqP", 1, 1, 1, length, length, width, 0, 0, width, 0, 0, width, 0, 0, 0,
        0.25, 0, 16, ctypes.addressof(places), 0, 0,
        ctypes.addressof(ctypes.c_long.from_buffer(counter)),
    )
    received, rows = row(), [row(), row(), row()]
    getattr(library, "map_statistics_" + name)(maps, whole(), value, None, *rows, received)
    assert all(abs(x - 1) < 1e-5 for x in received)
    # choices of one score are equally probable
    top, powers, sums, shares = (real * 1)(), (real * 1)(), (real * 1)(), whole()
    choices = [ctypes.c_long(n) for n in (length, 0, 1)]
    getattr(library, "choice_sums_" + name)(row(*[2.0] * length), *choices, top, powers, sums)
    assert (top[0], abs(powers[0] - length) < 1e-4, sums[0]) == (2, True, 2 * length)
    spread, total = real(0.0), (real * 1)(2 + math.log(length))
    ones = (real * 1)(1.0)
    back = getattr(library, "choice_slopes_" + name)
    back(row(*[2.0] * length), *choices, total, ones, spread, shares)
    assert all(abs(x - 1 / length) < 1e-5 for x in shares[:length])
"""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled, or do not work."""
    compiler = find_compiler()
    if compiler is None:
        return None
    folder = cache_dir()
    try:
        if _is_private(folder):
            return ctypes.CDLL(str(_kept(compiler, folder) or _compiled(compiler, folder)))
        warning = "not closed to other users; the kernel is compiled anew in each process"
        print(f"{folder}: {warning}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="attnlab-") as own:
            return ctypes.CDLL(str(_compiled(compiler, Path(own))))
    except (OSError, subprocess.SubprocessError):
        return None


def find_compiler() -> str | None:
    """The C compiler: $CC, cc or gcc."""
    if os.name != "posix":
        return None
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def works(path: Path) -> bool:
    """Whether a library computes what it should, tried in a child process, which may crash."""
    command = [sys.executable, "-I", "-S", "-c", TRIAL, str(path)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _is_private(folder: Path) -> bool:
    """Whether the folder is this user's and no other's; made, or closed to others, if need be."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.geteuid():
        return False
    if state.st_mode & 0o077:
        folder.chmod(0o700)
    if state.st_mode & 0o022:  # whoever it was open to may have left something
        for path in folder.glob("*.so"):
            path.unlink()
    return True


def _kept(compiler: str, folder: Path) -> Path | None:
    """The library that was compiled before; others of its name are removed."""
    for path in folder.glob(f"{_stem(compiler)}-*.so"):
        state = path.lstat()
        own = stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid()
        if own and path.name == _named(compiler, path):
            return path
        path.unlink()
    return None


def _compiled(compiler: str, folder: Path) -> Path:
    """Compile a library that works, beside the folder's files, and move it there."""
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        made = Path(draft) / "kernels.so"
        for tuned in TUNED:
            command = [compiler, *FLAGS, *tuned, *map(str, SOURCES), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            if done.returncode == 0 and works(made):
                made.chmod(0o700)
                return made.replace(folder / _named(compiler, made))
    raise OSError(f"{compiler} does not compile the kernels")


def _stem(compiler: str) -> str:
    """Differs with the sources, the compiler and the processor."""
    described = b"".join(source.read_bytes() for source in (*SOURCES, HEADER))
    described += f"{compiler} {FLAGS} {TUNED} {_processor()}".encode()
    return f"kernels-{hashlib.sha256(described).hexdigest()[:16]}"


def _named(compiler: str, path: Path) -> str:
    """What a library has to be called: its hash is part of it."""
    return f"{_stem(compiler)}-{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}.so"


def cache_dir() -> Path:
    """Where compiled kernels and measured times of this machine are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "attnlab"


def _processor() -> str:
    """What native code depends on: a cache folder may be shared by several machines."""
    try:
        with Path("/proc/cpuinfo").open() as lines:  # a line of the first core, not those of all
            return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="attnlab")


def function(name: str, dtype: torch.dtype) -> Callable[..., int | None]:
    """A function of the sources (`forward`, `attend_back` ...) for fp32 or fp64; calls let other
    Python threads run."""
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


def run_all(tasks: Sequence[Callable[[], object]]) -> None:
    """Run tasks side by side, the first in this thread."""
    if len(tasks) == 1:
        tasks[0]()
        return
    waiting = [_workers(torch.get_num_threads()).submit(task) for task in tasks[1:]]
    tasks[0]()
    for future in waiting:
        future.result()
