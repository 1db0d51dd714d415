"""`Packing`: several short examples in one row, so that nothing is computed for padding.

Rows are as long as the longest example. Each state sees those of its own example alone, so that
the results are the same without packing (as in Krell et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.attention.mask import Mask


@dataclass(frozen=True)
class Packing:
    """The position of each real state of a batch in the rows."""

    sources: Tensor  # of all real states: index into batch x length, flat
    targets: Tensor  # of the same states: index into rows x width, flat
    owners: Tensor  # rows x width: the example of each position, -1 where there is none

    @classmethod
    def of(cls, mask: Tensor) -> Packing | None:
        """For states, real where the mask (batch x length) says so; None if no row is saved."""
        lengths = mask.sum(1).tolist()
        rows = in_rows(lengths, mask.shape[1])
        if len(rows) == len(lengths):
            return None
        width = mask.shape[1]
        starts = torch.zeros(len(lengths), dtype=torch.long)  # index of each example's first state
        for number, row in enumerate(rows):
            start = number * width
            for example in row:
                starts[example] = start
                start += lengths[example]
        sources = mask.flatten().nonzero()[:, 0]
        example, offset = sources // width, (mask.cumsum(1) - 1).flatten()[sources]
        targets = starts.to(mask.device)[example] + offset
        owners = mask.new_full((len(rows) * width,), -1, dtype=torch.long)
        owners[targets] = example
        return cls(sources, targets, owners.view(len(rows), width))

    def packed(self, states: Tensor) -> Tensor:
        """batch x length x dim -> rows x width x dim, zero where there is no state."""
        rows, width = self.owners.shape
        empty = states.new_zeros(rows * width, states.shape[-1])
        filled = empty.index_copy(0, self.targets, states.flatten(0, 1)[self.sources])
        return filled.view(rows, width, -1)

    def unpacked(self, rows: Tensor, like: Tensor) -> Tensor:
        """rows x width x dim -> the shape of `like`, batch x length x dim, padding zero."""
        empty = torch.zeros_like(like).flatten(0, 1)
        return empty.index_copy(0, self.sources, rows.flatten(0, 1)[self.targets]).view_as(like)

    def visible(self, causal: bool) -> Mask:
        """Within rows, the states of one's own example."""
        same = self.owners[:, :, None] == self.owners[:, None, :]  # rows x width x width
        return Mask(keys=self.owners >= 0, custom=same[:, None], causal=causal)


def in_rows(lengths: list[int], width: int) -> list[list[int]]:
    """Examples by row, the longest first, each in the first row that has room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for example in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = (row for row, left in enumerate(room) if left >= lengths[example])
        row = next(fits, len(rows))
        if row == len(rows):
            rows.append([])
            room.append(width)
        rows[row].append(example)
        room[row] -= lengths[example]
    return rows
