"""Gold links of sentence pairs, read from a file in which some lines may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from attnlab.datasets.readers.files import lines
from attnlab.datasets.targets import GoldLinks, Link, parse_pharaoh
from attnlab.errors import UserError

SHOWN = 3  # wrong lines that are quoted

Lengths = Sequence[tuple[int, int]]  # words of each pair: source, target
Gold = Sequence[GoldLinks | None]  # of each pair; None where its line is wrong


def read_gold(
    path: Path, base: Literal[0, 1], lengths: Lengths, say: Callable[[str], None]
) -> Gold:
    """Sure and possible links of each pair.

    Wrong lines are counted, and the first are quoted with the numbers that the file has.

    Raises:
        UserError: the file has another number of lines, or none that fits its pair.
    """
    rows = list(lines(path))
    if len(rows) != len(lengths):
        raise UserError(f"--gold: {path} has {len(rows)} lines for {len(lengths)} sentence pairs")
    gold: list[GoldLinks | None] = []
    problems: list[str] = []
    for number, (row, sizes) in enumerate(zip(rows, lengths, strict=True), start=1):
        try:
            links = parse_pharaoh(row, base)
            _check(links, sizes, base)
        except ValueError as error:
            gold.append(None)
            problems.append(f"line {number}: {error}")
        else:
            gold.append(links)
    hint = _other_base(rows, base)
    if problems:
        quoted = "; ".join([*problems[:SHOWN], *(["..."] if problems[SHOWN:] else [])])
        said = f"--gold: {path}: {len(problems)} of {len(rows)} lines are not evaluated: {quoted}"
        if len(problems) == len(rows):
            raise UserError(said + hint)
        say(said + hint)
    elif hint:
        say(f"--gold: {path}{hint}")
    return gold


def _check(links: GoldLinks, sizes: tuple[int, int], base: int) -> None:
    """Raise a `ValueError` for a link beyond the words of its pair."""

    def beyond(link: Link) -> bool:
        return link[0] >= sizes[0] or link[1] >= sizes[1]

    outside = min(filter(beyond, links.possible), default=None)
    if outside is not None:
        source, target = (number + base for number in outside)
        last = " and ".join(str(size - 1 + base) for size in sizes)
        raise ValueError(f"link {source}-{target} is outside of its words, {base} to {last}")


def _other_base(rows: Sequence[str], base: int) -> str:
    """The other base as a hint, if the file counts from there: no number of it, or one, is 0."""
    numbers = {number for row in rows for link in row.split() for number in _numbers(link)}
    counts_from = 0 if "0" in numbers else 1
    if not numbers or counts_from == base:
        return ""
    seen = "has a 0" if base else "has no 0"
    return f"; it {seen} and seems to count from {counts_from}: try --base {counts_from}"


def _numbers(link: str) -> list[str]:
    return [part for part in link.replace("p", "-").replace("?", "-").split("-") if part.isdigit()]
