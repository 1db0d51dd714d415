"""`ClutteredSource`: each picture somewhere on a larger canvas, among pieces of others.

Cluttered, translated pictures are those of Mnih et al. 2014 (Recurrent models of visual attention).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Example
from attnlab.data.source import SPLITS, Split
from attnlab.datasets.readers.pictures import PictureSource
from attnlab.datasets.targets.images import box_target
from attnlab.errors import UserError

TOGETHER = 256  # pictures of a split that lend pieces to one another

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class ClutteredSource(PictureSource):
    """What is drawn depends on the seed, the split and the place in it alone.

    The box of the picture is where to look.
    """

    canvas: tuple[int, int]
    pieces: int
    piece: int
    seed: int

    def examples(self, split: Split) -> Iterator[Example]:
        whole, number = iter(super().examples(split)), 0
        while chunk := list(islice(whole, TOGETHER)):
            random = np.random.default_rng([self.seed, SPLITS.index(split), number])
            pictures = [np.asarray(each.inputs["image"]) for each in chunk]
            for example, picture in zip(chunk, pictures, strict=True):
                yield self._placed(example, picture, pictures, random)
            number += 1

    def _placed(
        self, example: Example, picture: Pixels, others: Sequence[Pixels], random: Random
    ) -> Example:
        height, width = picture.shape[1:]
        if height > self.canvas[0] or width > self.canvas[1]:
            raise UserError(
                f"dataset.canvas: {list(self.canvas)} is smaller than a picture, "
                f"{[height, width]}; try: dataset.canvas={[2 * height, 2 * width]}"
            )
        canvas = np.zeros((len(picture), *self.canvas), np.uint8)
        for _ in range(self.pieces):
            other = others[int(random.integers(len(others)))]
            piece = _cut(other, self.piece, random)
            _lay(canvas, piece, _corner(self.canvas, piece, random))
        top, left = _corner(self.canvas, picture, random)
        _lay(canvas, picture, (top, left))
        box = float(left), float(top), float(left + width), float(top + height)
        target = box_target([[box]], *self.canvas)
        return replace(example, inputs={"image": canvas}, target=target)


def _corner(canvas: tuple[int, int], part: Pixels, random: Random) -> tuple[int, int]:
    """Top and left of a place where it lies wholly on the canvas."""
    room = [whole - side for whole, side in zip(canvas, part.shape[1:], strict=True)]
    top, left = (int(random.integers(each, endpoint=True)) for each in room)
    return top, left


def _cut(picture: Pixels, side: int, random: Random) -> Pixels:
    """A square of it; all of it, where it is smaller."""
    height, width = (min(side, each) for each in picture.shape[1:])
    top, left = _corner(picture.shape[1:], picture[:, :height, :width], random)
    return picture[:, top : top + height, left : left + width]


def _lay(canvas: Pixels, part: Pixels, corner: tuple[int, int]) -> None:
    """The brighter of both, where they meet."""
    (top, left), (height, width) = corner, part.shape[1:]
    under = canvas[:, top : top + height, left : left + width]
    np.maximum(under, part, out=under)
