"""Whether freed memory is given out again without the system clearing it, in new processes."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

from tests.commands import environment

PROGRAM = """
import resource
from attnlab.allocator import keep_freed_memory

def large():
    return b"x" * {size}

def cleared():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

{first}
large()
before = cleared()
for _ in range(10):
    large()
print(cleared() - before)
"""
SIZE = 50_000_000
ALL = 10 * SIZE // resource.getpagesize()


def pages_cleared(first: str, **variables: str) -> int:
    """While ten large blocks are had and freed, after one that was as large."""
    program = PROGRAM.format(first=first, size=SIZE)
    environ = {n: v for n, v in environment().items() if not n.startswith("MALLOC_")}
    command = [sys.executable, "-c", program]
    return int(subprocess.check_output(command, env=environ | variables, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept_unless_the_environment_has_decided() -> None:
    assert pages_cleared("") > 0.9 * ALL
    assert pages_cleared("keep_freed_memory()") < 0.01 * ALL
    assert pages_cleared("keep_freed_memory()", MALLOC_ARENA_MAX="2") > 0.9 * ALL
