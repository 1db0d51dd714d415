"""`PictureSource`: pictures of a user's own, alone or each on a larger, cluttered canvas."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from attnlab.data.example import SPLITS, Example, Split, Value
from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.media import MediaSource
from attnlab.datasets.readers.media_config import PictureGold
from attnlab.datasets.readers.objects import Fixations, MarkedBoxes, ObjectsColumn
from attnlab.datasets.readers.rows import Row
from attnlab.datasets.targets import box_target
from attnlab.errors import UserError

MOST_PIXELS = 64_000_000  # of a picture as it is stored
MODES: dict[str, str] = {"grey": "L", "rgb": "RGB"}
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PictureSource(MediaSource):
    """A picture in; its label, what is where in it, or where people look is the answer."""

    size: tuple[int, int] | None
    colour: Literal["grey", "rgb"]
    gold: PictureGold | None

    def make(self, row: Row, name: str) -> Example:
        stored = self.array(row)
        picture = self._brought(_image(stored))
        pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
        answer, target = self._said(
            row, (picture.height, picture.width), (stored.shape[1], stored.shape[0])
        )
        return Example(
            id=name,
            inputs={"image": np.ascontiguousarray(pixels.transpose(2, 0, 1))},
            answer=answer,
            target=target,
            attended="image",
            meta={"row": row.place},
        )

    def _said(
        self, row: Row, size: tuple[int, int], stored: tuple[int, int]
    ) -> tuple[Value, AttentionTarget | None]:
        """The answer, and where to look for it."""
        if isinstance(self._answer, ObjectsColumn):
            return self._answer.read(row.values.get(self._answer.column), size, stored)
        cell = None if self.gold is None else row.values.get(self.gold.column)
        target = None if self._gold is None or not cell else self._gold.read(cell, size, stored)
        return self.answered(row), target

    def sometimes(self) -> dict[str, str]:
        return {} if self.gold is None else {"dataset.gold.column": self.gold.column}

    def opened(self, content: bytes, name: str) -> np.ndarray:
        return _opened(content, name, MODES[self.colour])

    def _brought(self, picture: Image.Image) -> Image.Image:
        picture = picture.convert(MODES[self.colour])
        return picture if self.size is None else _of_size(picture, self.size)

    @cached_property
    def _gold(self) -> Fixations | MarkedBoxes | None:
        return None if self.gold is None else self.gold.build()


def picture_of(content: bytes, name: str, channels: int, size: tuple[int, int]) -> Pixels:
    """The pixels of a file as a model reads them: channels x height x width.

    Raises:
        BadRowError: it cannot be read.
    """
    stored = Image.fromarray(_opened(content, name, {1: "L", 3: "RGB"}[channels]))
    return np.asarray(_of_size(stored, size)).reshape(*size, channels).transpose(2, 0, 1)


def _opened(content: bytes, name: str, mode: str) -> Pixels:
    """height x width, or height x width x 3."""
    try:
        with _no_warning(), Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                problem = f"has {width} x {height} pixels, more than {MOST_PIXELS:,}"
                raise BadRowError(f"'{name}' {problem}")
            return np.asarray(picture.convert(mode))
    except Image.DecompressionBombError as error:
        raise BadRowError(f"'{name}' is too large ({error})") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BadRowError(f"'{name}' is no picture ({error})") from None


def _of_size(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Brought to this height and width."""
    height, width = size
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BOX)


def _no_warning() -> warnings.catch_warnings:
    """Of large pictures, of which the library warns and we decide."""
    return warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)


def _image(pixels: np.ndarray) -> Image.Image:
    """height x width, or height x width x 3, of bytes."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise BadRowError(f"not a picture of bytes: {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(pixels)


TOGETHER = 256  # pictures of a split that lend pieces to one another
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
