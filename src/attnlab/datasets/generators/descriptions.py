"""Digits on a canvas in words: "three at top left and seven at middle right".

A place is one of nine squares; no scene is described of which anybody could say it otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

from attnlab.datasets.generators.scenes import Digit

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DOWN, ACROSS = ("top", "middle", "bottom"), ("left", "centre", "right")
MARGIN = 1.0  # pixels that the middle of a digit keeps from the edges of its square


class Thing(NamedTuple):
    """A digit and its square, which comes first: things are in reading order."""

    row: int
    column: int
    digit: Digit

    @property
    def name(self) -> str:
        return NUMBERS[self.digit.label]

    @property
    def place(self) -> list[str]:
        return [DOWN[self.row], ACROSS[self.column]]


def things(digits: list[Digit], size: int) -> list[Thing] | None:
    """The digits with their squares; None where one is in doubt, or two share one."""
    found = []
    for digit in digits:
        column, row = (_third(middle, size) for middle in digit.middle)
        if row is None or column is None:
            return None
        found.append(Thing(row, column, digit))
    different = len({(thing.row, thing.column) for thing in found}) == len(found)
    return sorted(found, key=lambda thing: (thing.row, thing.column)) if different else None


def _third(middle: float, size: int) -> int | None:
    """Which third of the canvas it lies in, unless that is in doubt."""
    edges = size / 3, 2 * size / 3
    if any(abs(middle - edge) < MARGIN for edge in edges):
        return None
    return sum(middle > edge for edge in edges)


def caption(seen: list[Thing]) -> tuple[list[str], list[Digit | None]]:
    """All of them in one sentence, and of each word the digit that it is about."""
    words: list[str] = []
    about: list[Digit | None] = []
    for thing in seen:
        joint = ["and"] if words else []
        words += [*joint, thing.name, "at", *thing.place]
        about += [*([None] * len(joint)), thing.digit, None, thing.digit, thing.digit]
    return words, about


def phrases(thing: Thing) -> list[list[str]]:
    """Ways to speak of one thing: by its name, or by its place."""
    return [["the", thing.name], ["the", "digit", "at", *thing.place]]
