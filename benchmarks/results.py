"""`docs/results.md`: one section for each benchmark, written by the benchmark itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from attnlab.learning.checkpoint import git_commit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
HEAD = """# Results

Every section is written by the command it names. Times are medians; ratios are taken pair by pair
in one run, since machines change their speed. A target that is missed is said to be missed.
"""


def record(
    name: str, title: str, command: str, lines: Sequence[str], data: str = "", note: str = ""
) -> None:
    """Put a section in place of the one with this name, and print it."""
    section = "\n".join([f"<!-- {name} -->", f"## {title}", "", f"`{command}`", "", *lines, ""])
    section += (
        "\n" + (note + "\n\n" if note else "") + f"{_circumstances(data)}\n<!-- /{name} -->\n"
    )
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else HEAD
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->\n"
    if start in text:
        before, _, rest = text.partition(start)
        text = before + section + rest.partition(end)[2]
    else:
        text = text.rstrip() + "\n\n" + section
    PAGE.write_text(text, encoding="utf-8")
    print(section)


def machine() -> str:
    """Where it was measured, without a name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()}-core {platform.machine()} CPU"


def _circumstances(data: str) -> str:
    parts = [machine(), f"torch {torch.__version__}", f"commit {git_commit()[:12]}"]
    if data:
        parts.append(f"data {data[:12]}")
    return f"<sub>{', '.join(parts)}</sub>"
