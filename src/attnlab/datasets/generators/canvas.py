"""Digits on a cluttered canvas: what they are, where, which pixels, what is looked at, in words.

One picture serves all tasks, so that the same attention can be compared between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from attnlab.data.example import Example, Value
from attnlab.data.target import AttentionTarget
from attnlab.datasets.generators.generator import MOST_DRAWS, Generator, Random, Split, pick
from attnlab.datasets.generators.scenes import Digit, Painter, Scene
from attnlab.datasets.targets.images import box_target, fixation_target, mask_target
from attnlab.errors import UserError

IN_WORDS = ("caption", "point")  # views whose words have to be the same to everybody


class Asked(NamedTuple):
    """What is asked about a scene."""

    answer: Value
    target: AttentionTarget
    phrase: list[str] | None = None  # where words ask as well


@dataclass(frozen=True, kw_only=True)
class Canvas(Generator):
    """A picture in; the splits share no digit image."""

    task_view: str
    size: int
    min_digits: int
    max_digits: int
    clutter: int
    noise: float
    observers: int
    blur: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        count = int(random.integers(self.min_digits, self.max_digits, endpoint=True))
        scene = self._scene(count, split, random)
        views: dict[str, Callable[[Scene, Random], Asked]] = {
            "classify": self._classify,
            "locate": self._locate,
            "segment": self._segment,
            "attend": self._attend,
            "caption": self._caption,
            "point": self._point,
        }
        asked = views[self.task_view](scene, random)
        inputs: dict[str, Value] = {"image": scene.image}
        if asked.phrase:
            inputs["phrase"] = asked.phrase
        return Example(
            id=name,
            inputs=inputs,
            answer=asked.answer,
            target=asked.target,
            attended="image",
            meta={"digits": [[digit.label, *digit.box] for digit in scene.digits]},
        )

    @cached_property
    def painter(self) -> Painter:
        return Painter(self.size, self.clutter, self.noise)

    def _scene(self, count: int, split: Split, random: Random) -> Scene:
        """A scene; where words are about it, one of which they say the same to everybody."""
        for _ in range(MOST_DRAWS):
            scene = self.painter.scene(count, split, random)
            if self.task_view not in IN_WORDS or things(scene.digits, self.size):
                return scene
        raise UserError(
            f"dataset.max_digits: no clear words about {count} digits on one canvas; try fewer"
        )

    def _classify(self, scene: Scene, random: Random) -> Asked:
        """The highest digit there is; the target is its box."""
        highest = max(scene.digits, key=lambda digit: digit.label)
        return Asked(str(highest.label), box_target([[highest.box]], self.size, self.size))

    def _locate(self, scene: Scene, random: Random) -> Asked:
        """The boxes with their digits, in reading order; the target of each is its own box."""
        boxes = np.array([[*d.box, d.label] for d in scene.digits], np.float32)  # digits x 5
        return Asked(boxes, box_target([[d.box] for d in scene.digits], self.size, self.size))

    def _segment(self, scene: Scene, random: Random) -> Asked:
        """For each pixel 0, or 1 + the digit that it belongs to; the target is all ink."""
        classes = np.zeros((self.size, self.size), np.float32)  # height x width
        for digit in scene.digits:
            classes[digit.ink] = digit.label + 1
        return Asked(classes, mask_target((classes > 0)[None]))

    def _attend(self, scene: Scene, random: Random) -> Asked:
        """Where observers look: each one once at every digit, somewhere on its ink."""
        observers = [
            [_point_on(digit, random) for digit in scene.digits] for _ in range(self.observers)
        ]
        return Asked(None, fixation_target(observers, self.size, self.size, self.blur))

    def _caption(self, scene: Scene, random: Random) -> Asked:
        """What stands where; a word has the box of the digit that it names or places."""
        words, about = caption(things(scene.digits, self.size) or [])
        rows = [digit and [digit.box] for digit in about]
        return Asked(words, box_target(rows, self.size, self.size))

    def _point(self, scene: Scene, random: Random) -> Asked:
        """The map is the answer: the box of the digit that a phrase speaks of."""
        thing = pick(random, things(scene.digits, self.size) or [])
        target = box_target([[thing.digit.box]], self.size, self.size)
        return Asked(None, target, pick(random, phrases(thing)))


def _point_on(digit: Digit, random: Random) -> tuple[float, float]:
    """A point on the digit: column and row, within a pixel of its ink."""
    rows, columns = np.nonzero(digit.ink)
    pixel = int(random.integers(len(rows)))
    right, down = random.random(2)
    return float(columns[pixel] + right), float(rows[pixel] + down)


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
