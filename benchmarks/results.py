"""`docs/results.md`: one section for each benchmark, written by the benchmark itself."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from attnlab.training.checkpoint import git_commit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
HEAD = """# Results

Every section is written by the command it names. Times are medians; ratios are taken pair by pair
in one run, since machines change their speed. A target that is missed is said to be missed.
"""


@dataclass(frozen=True)
class Origin:
    """What figures were made of: commits of the code, and hashes of the data."""

    commits: Sequence[str]
    data: Sequence[str] = ()

    def __str__(self) -> str:
        named = {"commit": self.commits, "data": self.data}
        known = {what: sorted({each[:12] for each in found}) for what, found in named.items()}
        return ", ".join(f"{what} {' '.join(found)}" for what, found in known.items() if found)


def now(data: str = "") -> Origin:
    """Figures that the present code has just made."""
    return Origin([git_commit()], [data] if data else [])


def record(
    name: str,
    title: str,
    command: str,
    lines: Sequence[str],
    origin: Origin | None = None,
    note: str = "",
) -> None:
    """Put a section in place of the one with this name, and print it."""
    parts = [f"## {title}", f"`{command}`", "\n".join(lines), note, _circumstances(origin or now())]
    inner = "\n\n".join(part for part in parts if part)
    section = f"<!-- {name} -->\n{inner}\n<!-- /{name} -->\n"
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


def _circumstances(origin: Origin) -> str:
    return f"<sub>{machine()}, torch {torch.__version__}, {origin}</sub>"


def run_sections(sections: Mapping[str, Callable[[], None]], about: str, threads: int) -> None:
    """The command line of a benchmark: runs the named sections, or all of them."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("sections", nargs="*", choices=[*sections, []])
    parser.add_argument(
        "--threads", type=int, default=threads, help="1 is disturbed least by others"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.sections or sections:
        sections[name]()
