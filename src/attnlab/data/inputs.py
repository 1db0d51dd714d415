"""Forms of input: text (words, characters, items), pictures and sounds.

Each says what was found in the data, so that a model can be built from it alone; makes tensors of
values; and knows which units of the data make one that the model attends to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from attnlab.data.example import Example
from attnlab.data.grain import Grain, picture_groups, sound_groups
from attnlab.data.groups import Groups
from attnlab.data.tokenizers import vocabulary_of
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError


class Input(Protocol):
    """What was found of one input."""

    form: str

    def encode(self, value: Any) -> Tensor: ...

    def groups(self, value: Any, grain: Grain) -> Groups:
        """From the units that gold counts to those that a model of this grain attends to."""
        ...

    def describe(self) -> dict[str, Any]:
        """As plain values, from which `input_of` makes it again."""
        ...


@dataclass(frozen=True)
class Text:
    """Units of a vocabulary: characters, words or their pieces, items."""

    vocabulary: Vocabulary
    form = "text"

    def encode(self, value: Sequence[str]) -> Tensor:
        """length."""
        return torch.tensor(self.vocabulary.encode(value))

    def groups(self, value: Sequence[str], grain: Grain) -> Groups:
        return self.vocabulary.groups(value)

    def describe(self) -> dict[str, Any]:
        return self.vocabulary.describe()


@dataclass(frozen=True)
class Picture:
    """Pictures, all of one size; gold counts pixels row by row."""

    channels: int
    height: int
    width: int
    form = "picture"

    def encode(self, value: Any) -> Tensor:
        """channels x height x width."""
        pixels = np.array(value, dtype=np.float32)
        if pixels.shape != (self.channels, self.height, self.width):
            raise UserError(
                f"a picture of {pixels.shape} (channels, height, width) among pictures of "
                f"{(self.channels, self.height, self.width)}: bring all to one size"
            )
        return torch.from_numpy(pixels)

    def groups(self, value: Any, grain: Grain) -> Groups:
        return picture_groups(self.height, self.width, grain.patch)

    def describe(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sound:
    """Waveforms; gold counts frames of `hop` samples."""

    sample_rate: int
    hop: int
    form = "sound"

    def encode(self, value: Any) -> Tensor:
        """samples."""
        return torch.from_numpy(np.array(value, dtype=np.float32))

    def groups(self, value: Any, grain: Grain) -> Groups:
        return sound_groups(-(-len(value) // self.hop), grain.stride)

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def fit_input(name: str, examples: Iterable[Example], vocabulary: Vocabulary | None) -> Input:
    """What the training examples have as this input; its units are those that occur, unless given.

    The examples are gone through more than once.
    """
    first = next(iter(examples))
    value = first.inputs[name]
    if vocabulary is not None:
        return Text(vocabulary)
    if isinstance(value, list):
        return Text(Vocabulary.of(example.inputs[name] for example in examples))  # type: ignore[misc]
    if isinstance(value, np.ndarray) and value.ndim == 3:
        return Picture(*value.shape)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        meta = first.meta
        if "sample_rate" not in meta or "hop" not in meta:
            raise UserError(f"input '{name}': a sound needs sample_rate and hop in its meta")
        return Sound(meta["sample_rate"], meta["hop"])
    raise UserError(f"input '{name}': neither text nor picture nor sound: {type(value).__name__}")


def input_of(form: str, content: dict[str, Any]) -> Input:
    """The input that `describe` wrote down."""
    if form == "text":
        return Text(vocabulary_of(content))
    return {"picture": Picture, "sound": Sound}[form](**content)
