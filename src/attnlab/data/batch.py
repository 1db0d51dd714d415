"""`Batch`: examples side by side, padded, with masks that say what is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from attnlab.data.codec import Item
from attnlab.data.target_batch import TargetBatch, collate_targets
from attnlab.data.vocabulary import PAD


class Padded(NamedTuple):
    """Sequences of different lengths in one tensor."""

    values: Tensor  # batch x length (x ...)
    mask: Tensor  # batch x length, bool: True where real


@dataclass(frozen=True)
class Batch:
    """What a training step works on."""

    inputs: dict[str, Padded]
    answer: Padded  # units: batch x length, end mark included; label, item: batch x 1;
    # boxes: batch x boxes x 5; pixels: batch x height x width
    target: TargetBatch
    index: Tensor  # batch: places of the examples in their split

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        def move(padded: Padded) -> Padded:
            values = padded.values.to(device, non_blocking=non_blocking)
            return Padded(values, padded.mask.to(device, non_blocking=non_blocking))

        return Batch(
            {name: move(padded) for name, padded in self.inputs.items()},
            move(self.answer),
            self.target.to(device, non_blocking),
            self.index.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        def pin(padded: Padded) -> Padded:
            return Padded(padded.values.pin_memory(), padded.mask.pin_memory())

        return Batch(
            {name: pin(padded) for name, padded in self.inputs.items()},
            pin(self.answer),
            self.target.pin_memory(),
            self.index.pin_memory(),
        )


def pad(tensors: Sequence[Tensor], value: float = PAD) -> Padded:
    """Tensors that differ in their first size only, side by side."""
    lengths = torch.tensor([len(t) for t in tensors])
    values = torch.nn.utils.rnn.pad_sequence(list(tensors), batch_first=True, padding_value=value)
    return Padded(values, torch.arange(values.shape[1]) < lengths[:, None])


def collate(items: Sequence[Item]) -> Batch:
    """Items to a batch; gold is padded to the most queries and keys that an item of it has."""
    inputs = {name: pad([item.inputs[name] for item in items]) for name in items[0].inputs}
    shapes = [(item.queries, item.keys) for item in items]
    queries, keys = (max(sizes) for sizes in zip(*shapes, strict=True))
    target = collate_targets([item.target for item in items], queries, keys, shapes)
    answer = pad([item.answer for item in items])
    return Batch(inputs, answer, target, torch.tensor([item.index for item in items]))
