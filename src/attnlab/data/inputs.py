"""Forms of input: text (words, characters, items), sentences, pictures and sounds.

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
from torch.nn.utils.rnn import pad_sequence

from attnlab.data.example import Example, words_of
from attnlab.data.groups import Groups
from attnlab.data.target import MapLayout, picture_groups, sound_groups
from attnlab.data.tokenizers import vocabulary_of
from attnlab.data.vocabulary import PAD, Vocabulary
from attnlab.errors import UserError


class Input(Protocol):
    """What was found of one input."""

    form: str

    def encode(self, value: Any) -> Tensor: ...

    def absent(self) -> Tensor:
        """What stands for one that is missing, of a shape that goes with others."""
        ...

    def groups(self, value: Any, layout: MapLayout) -> Groups:
        """From the units that gold counts to those that a model of this layout attends to.

        Of a value that is missing (None) they are those of what stands for it.
        """
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

    def absent(self) -> Tensor:
        return torch.tensor([PAD])

    def groups(self, value: Sequence[str] | None, layout: MapLayout) -> Groups:
        return Groups.same(1) if value is None else self.vocabulary.groups(value)

    def describe(self) -> dict[str, Any]:
        return self.vocabulary.describe()


@dataclass(frozen=True)
class Sentences:
    """A text whose sentences are attended to, each as one."""

    vocabulary: Vocabulary
    form = "sentences"

    def encode(self, value: Sequence[Sequence[str]]) -> Tensor:
        """sentences x words."""
        numbers = [torch.tensor(self.vocabulary.encode(sentence)) for sentence in value]
        return pad_sequence(numbers, batch_first=True, padding_value=PAD)

    def absent(self) -> Tensor:
        return torch.tensor([[PAD]])

    def groups(self, value: Sequence[Sequence[str]] | None, layout: MapLayout) -> Groups:
        return Groups.same(1 if value is None else len(value))

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
        """channels x height x width; bytes stay bytes until a model looks at them."""
        pixels = np.array(value, dtype=np.uint8 if value.dtype == np.uint8 else np.float32)
        if pixels.shape != (self.channels, self.height, self.width):
            raise UserError(
                f"a picture of {pixels.shape} (channels, height, width) among pictures of "
                f"{(self.channels, self.height, self.width)}: bring all to one size"
            )
        return torch.from_numpy(pixels)

    def absent(self) -> Tensor:
        return torch.zeros(self.channels, self.height, self.width)

    def groups(self, value: Any, layout: MapLayout) -> Groups:
        return picture_groups(self.height, self.width, layout.patch)

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

    def absent(self) -> Tensor:
        return torch.zeros(self.hop)

    def groups(self, value: Any, layout: MapLayout) -> Groups:
        frames = 1 if value is None else -(-len(value) // self.hop)
        return sound_groups(frames, layout.stride)

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def light(pixels: Tensor) -> Tensor:
    """Pixels as numbers from 0 to 1, whether they come as bytes or as such."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def within(moved: Tensor, values: Tensor, size: float) -> Tensor:
    """`moved`, no value further than `size` from `values`, and in their range.

    Sounds (batch x samples) are from -1 to 1, pictures (batch x channels x height x width) from 0.
    """
    low = -1.0 if values.dim() == 2 else 0.0
    return (values + (moved - values).clamp(-size, size)).clamp(low, 1.0)


def fit_input(name: str, examples: Iterable[Example], vocabulary: Vocabulary | None) -> Input:
    """What the training examples have as this input; its units are those that occur, unless given.

    The examples are gone through more than once.
    """
    first = next((e for e in examples if e.inputs[name] is not None), None)
    if first is None:
        raise UserError(f"input '{name}': not one of the training examples has it")
    value = first.inputs[name]
    if isinstance(value, list):
        there = (example.inputs[name] for example in examples)
        words = (words_of(each) for each in there if each is not None)
        form = Sentences if value and isinstance(value[0], list) else Text
        return form(vocabulary or Vocabulary.of(words))
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
    if form in ("text", "sentences"):
        return (Text if form == "text" else Sentences)(vocabulary_of(content))
    return {"picture": Picture, "sound": Sound}[form](**content)
