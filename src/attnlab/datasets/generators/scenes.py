"""Handwritten digits scattered on a cluttered canvas: the pictures that other generators ask about.

The digits are the 1,797 real ones of 8 x 8 pixels that come with scikit-learn (UCI, Alpaydin and
Kaynak 1998); no digit image serves in two splits. The clutter is torn from the same images, as in
cluttered MNIST (Mnih et al. 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Array
from attnlab.datasets.generators.generator import Random, Split, split_of
from attnlab.datasets.targets.images import Box

SIDE = 8  # pixels of a digit image, each way
INK = 0.25  # brightness from which a pixel belongs to the digit


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
