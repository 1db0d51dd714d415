"""Digits on a cluttered canvas: what they are, where, which pixels, what eyes fixate, in words.

The digits are the 1,797 real ones of 8 x 8 pixels that come with scikit-learn (UCI, Alpaydin and
Kaynak 1998); no digit image serves in two splits. The clutter is torn from the same images, as in
cluttered MNIST (Mnih et al. 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Array, Example, Value
from attnlab.data.target import AttentionTarget
from attnlab.datasets.generators.generator import (
    MOST_DRAWS,
    Generator,
    Random,
    Split,
    pick,
    split_of,
)
from attnlab.datasets.targets import Box, box_target, fixation_target, mask_target
from attnlab.errors import UserError

SIDE = 8  # pixels of a digit image, each way
INK = 0.25  # brightness from which a pixel belongs to the digit

IN_WORDS = ("caption", "point")  # views whose words have to be the same to everybody


@dataclass(frozen=True)
class Digit:
    """A digit on the canvas."""

    label: int
    ink: npt.NDArray[np.bool_]  # height x width of the whole canvas

    @cached_property
    def box(self) -> Box:
        """Left, top, right, bottom of the ink, the last two exclusive."""
        rows, columns = np.flatnonzero(self.ink.any(1)), np.flatnonzero(self.ink.any(0))
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)

    @property
    def middle(self) -> tuple[float, float]:
        """Column and row of the middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Scene:
    """A picture and the digits on it, in reading order of their boxes."""

    image: Array  # 1 x height x width, from 0 (dark) to 1
    digits: list[Digit]


@dataclass(frozen=True)
class Painter:
    """Draws scenes of one kind; no two digits of a scene are the same or overlap."""

    size: int
    clutter: int
    noise: float

    def scene(self, count: int, split: Split, random: Random) -> Scene:
        canvas = np.zeros((self.size, self.size), np.float32)  # height x width
        free = np.ones_like(canvas)
        digits = []
        labels = random.choice(10, count, replace=False).tolist()
        for label, (top, left) in zip(labels, self._places(count, random), strict=True):
            square = np.s_[top : top + SIDE, left : left + SIDE]
            canvas[square] = _any_of(digit_images(split)[label], random)
            free[square] = 0
            ink = np.zeros_like(canvas, dtype=bool)
            ink[square] = canvas[square] >= INK
            digits.append(Digit(label, ink))
        self._add_clutter(canvas, free, split, random)
        canvas += self.noise * random.standard_normal(canvas.shape, np.float32)
        digits.sort(key=lambda digit: digit.box[1::-1])
        return Scene(np.clip(canvas, 0, 1)[None], digits)

    def _places(self, count: int, random: Random) -> list[list[int]]:
        """Top left corners of squares that do not overlap, all such arrangements equally likely."""
        while True:
            corners = random.integers(self.size - SIDE, size=(count, 2), endpoint=True).tolist()
            if all(_apart(one, other) for one, other in combinations(corners, 2)):
                return corners

    def _add_clutter(self, canvas: Array, free: Array, split: Split, random: Random) -> None:
        """Scraps of digits wherever no digit stands."""
        for _ in range(self.clutter):
            image = _any_of(digit_images(split)[int(random.integers(10))], random)
            side = int(random.integers(3, 5, endpoint=True))
            row, column = random.integers(SIDE - side, size=2, endpoint=True)
            top, left = random.integers(self.size - side, size=2, endpoint=True)
            square = np.s_[top : top + side, left : left + side]
            scrap = image[row : row + side, column : column + side] * free[square]
            np.maximum(canvas[square], scrap, out=canvas[square])


def _apart(one: list[int], other: list[int]) -> bool:
    return abs(one[0] - other[0]) >= SIDE or abs(one[1] - other[1]) >= SIDE


@cache
def digit_images(split: Split) -> list[Array]:
    """For each digit its images in this split: images x 8 x 8, from 0 to 1."""
    from sklearn.datasets import load_digits  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    images: Array = (np.asarray(pixels) / 16).astype(np.float32).reshape(-1, SIDE, SIDE)
    ours = np.array([split_of(f"digit image {i}") == split for i in range(len(images))])
    return [images[ours & (labels == label)] for label in range(10)]


def _any_of(images: Array, random: Random) -> Array:
    return images[int(random.integers(len(images)))]


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
        view = views[self.task_view](scene, random)
        inputs: dict[str, Value] = {"image": scene.image}
        if view.phrase:
            inputs["phrase"] = view.phrase
        return Example(
            id=name,
            inputs=inputs,
            answer=view.answer,
            target=view.target,
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
    listed = []
    for digit in digits:
        column, row = (_third(middle, size) for middle in digit.middle)
        if row is None or column is None:
            return None
        listed.append(Thing(row, column, digit))
    different = len({(thing.row, thing.column) for thing in listed}) == len(listed)
    return sorted(listed, key=lambda thing: (thing.row, thing.column)) if different else None


def _third(middle: float, size: int) -> int | None:
    """Which third of the canvas it lies in, unless that is in doubt."""
    edges = size / 3, 2 * size / 3
    if any(abs(middle - edge) < MARGIN for edge in edges):
        return None
    return sum(middle > edge for edge in edges)


def caption(listed: list[Thing]) -> tuple[list[str], list[Digit | None]]:
    """All of them in one sentence, and of each word the digit that it is about."""
    words: list[str] = []
    about: list[Digit | None] = []
    for thing in listed:
        joint = ["and"] if words else []
        words += [*joint, thing.name, "at", *thing.place]
        about += [*([None] * len(joint)), thing.digit, None, thing.digit, thing.digit]
    return words, about


def phrases(thing: Thing) -> list[list[str]]:
    """Ways to speak of one thing: by its name, or by its place."""
    return [["the", thing.name], ["the", "digit", "at", *thing.place]]
