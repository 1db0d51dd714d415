"""`PictureSource`: pictures of a user's own, all brought to one size, as bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from attnlab.config.dataset_media import PictureGold
from attnlab.data.example import Example, Value
from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.fixations import Fixations
from attnlab.datasets.readers.media import MediaSource
from attnlab.datasets.readers.objects import MarkedBoxes, ObjectsColumn
from attnlab.datasets.readers.row import BadRowError, Row

MODES: dict[str, str] = {"grey": "L", "rgb": "RGB"}


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

    def sometimes(self) -> Mapping[str, str]:
        return {} if self.gold is None else {"dataset.gold.column": self.gold.column}

    def opened(self, content: bytes, name: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(content)) as picture:
                return np.asarray(picture.convert(MODES[self.colour]))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise BadRowError(f"'{name}' is no picture ({error})") from None

    def _brought(self, picture: Image.Image) -> Image.Image:
        picture = picture.convert(MODES[self.colour])
        if self.size is None or picture.size == (self.size[1], self.size[0]):
            return picture
        return picture.resize((self.size[1], self.size[0]), Image.Resampling.BOX)

    @cached_property
    def _gold(self) -> Fixations | MarkedBoxes | None:
        return None if self.gold is None else self.gold.build()


def _image(pixels: np.ndarray) -> Image.Image:
    """height x width, or height x width x 3, of bytes."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise BadRowError(f"not a picture of bytes: {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(pixels)
