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
from attnlab.data.example import Example
from attnlab.data.readers.fixations import Fixations
from attnlab.data.readers.media import MediaSource
from attnlab.data.readers.row import BadRowError, Row

MODES: dict[str, str] = {"grey": "L", "rgb": "RGB"}


@dataclass(frozen=True, kw_only=True)
class PictureSource(MediaSource):
    """A picture in; its label, or where people look at it, is the answer."""

    size: tuple[int, int] | None
    colour: Literal["grey", "rgb"]
    gold: PictureGold | None

    def make(self, row: Row, name: str) -> Example:
        stored = self.array(row)
        picture = self._brought(_image(stored))
        pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
        cell = None if self.gold is None else row.values.get(self.gold.column)
        size, first = (picture.height, picture.width), (stored.shape[1], stored.shape[0])
        return Example(
            id=name,
            inputs={"image": np.ascontiguousarray(pixels.transpose(2, 0, 1))},
            answer=self.answered(row),
            target=None if self._gold is None or not cell else self._gold.read(cell, size, first),
            looks_at="image",
            meta={"row": row.place},
        )

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
    def _gold(self) -> Fixations | None:
        return None if self.gold is None else self.gold.build()


def _image(pixels: np.ndarray) -> Image.Image:
    """height x width, or height x width x 3, of bytes."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise BadRowError(f"not a picture of bytes: {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(pixels)
