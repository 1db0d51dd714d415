"""How a model embeds pictures, sounds and sentences: the kinds of these slots."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from attnlab.config.attention import AttentionConfig
from attnlab.config.model import Audio, Image, SentenceVector
from attnlab.config.section import Section


class Convolutions(Section):
    """Convolutions one after the other, each with a stride of its own."""

    channels: list[int] = Field(description="channels of each convolution")
    strides: list[Literal[1, 2]] = Field(description="2 halves the number of steps, 1 keeps it")

    @model_validator(mode="after")
    def _as_many_strides(self) -> Self:
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels beside {len(self.strides)} strides")
        return self

    @property
    def stride(self) -> int:
        return math.prod(self.strides)


class Convolution(
    Convolutions, Image, kind="convolution", target="attnlab.models.embedders:Convolution"
):
    """Blocks of convolutions, each with a shortcut (He et al. 2016); a patch is an output cell."""

    channels: list[int] = Field(min_length=1, description="channels of each block")
    strides: list[Literal[1, 2]] = Field(min_length=1, description="2 halves both sides, 1 keeps")


class Pyramid(Convolution, kind="pyramid", target="attnlab.models.embedders:Pyramid"):
    """The same, seen at several scales: coarse places are laid over fine ones (Lin et al. 2017)."""

    finest: int = Field(gt=0, description="pixels of a cell: the stride of the finest scale used")

    @model_validator(mode="after")
    def _a_scale_that_is_there(self) -> Self:
        scales = [math.prod(self.strides[: i + 1]) for i in range(len(self.strides))]
        if self.finest not in scales:
            raise ValueError(f"finest is {self.finest}; allowed: {', '.join(map(str, scales))}")
        return self

    @property
    def stride(self) -> int:
        return self.finest


class Patches(Image, kind="patches", target="attnlab.models.embedders:Patches"):
    """Squares of pixels, each through the same layers: one in a ViT (Dosovitskiy et al. 2021).

    A patch as large as the picture with hidden layers is a fully connected network.
    """

    size: int = Field(gt=0, description="pixels of a patch, each way")
    hidden: list[PositiveInt] = Field(description="widths of layers before the last one")

    @property
    def stride(self) -> int:
        return self.size


class Bag(SentenceVector, kind="bag", target="attnlab.models.pooling:Bag"):
    """The sum of the words, whatever their order."""


class Position(SentenceVector, kind="position", target="attnlab.models.pooling:Position"):
    """A sum in which the place of a word counts (Sukhbaatar et al. 2015)."""


class WordAttention(
    SentenceVector, kind="attention", target="attnlab.models.pooling:WordAttention"
):
    """A learned query attends to the words (Yang et al. 2016)."""

    attention: AttentionConfig = Field(description="the mechanism; its maps are at `words.pooling`")


class Blanks(Section):
    """What training blanks out of each spectrum (SpecAugment, Park et al. 2019)."""

    count: int = Field(ge=0, description="stretches of time, and as many of bands")
    frames: int = Field(gt=0, description="most frames of a stretch of time")
    bands: int = Field(gt=0, description="most bands of one of the other kind")


class LogMel(Convolutions, Audio, kind="log_mel", target="attnlab.models.embedders:LogMel"):
    """Log-mel spectrum, then convolutions over time (as in Gulati et al. 2020 and Whisper)."""

    bands: int = Field(gt=0, description="mel bands")
    window: float = Field(ge=1, description="length of the window, in hops")
    blanks: Blanks
