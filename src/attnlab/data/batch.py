"""`Batch`: examples side by side, padded, with masks that say what is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.data.codec import Item, WordMap
from attnlab.data.groups import Groups
from attnlab.data.target_batch import TargetBatch, collate_targets, regroup_maps
from attnlab.data.vocabulary import PAD

if TYPE_CHECKING:
    from attnlab.attention.parts_of_texts import TextPart


class Padded(NamedTuple):
    """Sequences of different lengths in one tensor."""

    values: Tensor  # batch x length (x ...); sentences: batch x sentences x words
    mask: Tensor  # batch x length, bool: True where real

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Padded:
        values = self.values.to(device, non_blocking=non_blocking)
        return Padded(values, self.mask.to(device, non_blocking=non_blocking))

    def select(self, examples: Tensor) -> Padded:
        """Those of some of the examples."""
        return Padded(self.values[examples], self.mask[examples])


@dataclass(frozen=True)
class WordMaps:
    """What it takes to evaluate a batch of maps over pieces as maps over words."""

    target: TargetBatch  # over words
    queries: list[Groups]
    keys: list[Groups]

    def first_pieces(self) -> Padded:
        """Where each word of the answer begins: batch x words."""
        first = [torch.tensor([pieces[0] for pieces in each.members]) for each in self.queries]
        starts, mask = pad(first)
        device = self.target.weights.device
        return Padded(starts.to(device), mask.to(device))

    def select(self, examples: Tensor) -> WordMaps:
        """Those of some of the examples."""
        chosen = examples.tolist()
        queries, keys = ([groups[i] for i in chosen] for groups in (self.queries, self.keys))
        return WordMaps(self.target.select(examples), queries, keys)

    def to(self, device: torch.device | str) -> WordMaps:
        return WordMaps(self.target.to(device), self.queries, self.keys)


@dataclass(frozen=True)
class Batch:
    """What a training step works on."""

    inputs: dict[str, Padded]
    answer: Padded  # units: batch x length, end mark included; label, item: batch x 1, masked
    # where nobody knows it;
    # boxes: batch x boxes x 5; pixels: batch x height x width
    target: TargetBatch
    index: Tensor  # batch: places of the examples in their split
    words: WordMaps | None = None  # where maps over pieces are evaluated over words
    references: Sequence[Sequence[str]] = ()  # of each example: texts to compare with, or none
    choices: Sequence[Sequence[str]] = ()  # of each example: the texts of which one is the answer
    window: Sequence[Batch] = ()  # where gradients accumulate: the batches of one optimizer step
    part: TextPart | None = None  # where several processes share texts: what this one reads of them

    @property
    def target_over_words(self) -> TargetBatch:
        """The gold that maps are compared with."""
        return self.target if self.words is None else self.words.target

    def over_words(self, weights: Tensor) -> Tensor:
        """Maps batch x queries x keys as figures see them: over whole words, where gold counts."""
        if self.words is None:
            return weights
        return regroup_maps(weights, self.words.queries, self.words.keys)

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return Batch(
            {name: padded.to(device, non_blocking) for name, padded in self.inputs.items()},
            self.answer.to(device, non_blocking),
            self.target.to(device, non_blocking),
            self.index.to(device, non_blocking=non_blocking),
            self.words and self.words.to(device),
            self.references,
            self.choices,
            self.window,  # only its masks are read, where they are
        )

    def select(self, examples: Tensor) -> Batch:
        """Some of the examples, an example as often as it is named."""
        numbers: list[int] = examples.tolist()
        return Batch(
            {name: padded.select(examples) for name, padded in self.inputs.items()},
            self.answer.select(examples),
            self.target.select(examples),
            self.index[examples],
            self.words and self.words.select(examples),
            [self.references[i] for i in numbers] if self.references else [],
            [self.choices[i] for i in numbers] if self.choices else [],
        )

    def read_in_part(self, part: TextPart) -> Batch:
        """The same batch, of which this process reads a part of each text."""
        window = [replace(each, part=part) for each in self.window]
        return replace(self, part=part, window=window)

    def pin_memory(self) -> Batch:
        def pin(padded: Padded) -> Padded:
            return Padded(padded.values.pin_memory(), padded.mask.pin_memory())

        return Batch(
            {name: pin(padded) for name, padded in self.inputs.items()},
            pin(self.answer),
            self.target.pin_memory(),
            self.index.pin_memory(),
            self.words,
            self.references,
            self.choices,
        )


def pad(tensors: Sequence[Tensor], value: float = PAD) -> Padded:
    """Tensors that differ in their first size, or in both of two, side by side."""
    lengths = torch.tensor([len(t) for t in tensors])
    if tensors[0].dim() == 2:  # sentences: as wide as the longest of all
        width = max(t.shape[1] for t in tensors)
        tensors = [F.pad(t, (0, width - t.shape[1]), value=value) for t in tensors]
    values = torch.nn.utils.rnn.pad_sequence(list(tensors), batch_first=True, padding_value=value)
    return Padded(values, torch.arange(values.shape[1]) < lengths[:, None])


def collate(items: Sequence[Item]) -> Batch:
    """Items to a batch; gold is padded to the most queries and keys that an item of it has."""
    inputs = {name: _input(name, items) for name in items[0].inputs}
    shapes = [(item.queries, item.keys) for item in items]
    queries, keys = (max(sizes) for sizes in zip(*shapes, strict=True))
    target = collate_targets([item.target for item in items], queries, keys, shapes)
    answer = pad([item.answer for item in items])
    if not answer.values.shape[1]:  # labels that nobody knows
        answer = Padded(*(F.pad(each, (0, 1)) for each in answer))
    index = torch.tensor([item.index for item in items])
    texts = [item.references for item in items], [item.choices for item in items]
    return Batch(inputs, answer, target, index, _word_maps(items), *texts)


def _input(name: str, items: Sequence[Item]) -> Padded:
    """One input of all of them; nothing of it is real where it is missing."""
    there = torch.tensor([name not in item.missing for item in items])
    like = items[int(there.int().argmax())].inputs[name]  # a picture in bytes stays so
    values, mask = pad([item.inputs[name].to(like.dtype) for item in items])
    return Padded(values, mask & there[:, None])


def _word_maps(items: Sequence[Item]) -> WordMaps | None:
    """For all of them, or for none: it depends on the vocabulary, and by chance on the words."""
    if all(item.words is None for item in items):
        return None
    words = [
        item.words or WordMap(item.target, Groups.same(item.queries), Groups.same(item.keys))
        for item in items
    ]
    shapes = [(len(each.queries), len(each.keys)) for each in words]
    queries, keys = (max(sizes) for sizes in zip(*shapes, strict=True))
    target = collate_targets([each.target for each in words], queries, keys, shapes)
    return WordMaps(target, [each.queries for each in words], [each.keys for each in words])
