"""`Memory`: what a decoder or head attends to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from attnlab.attention.mask import Mask


class Memory(NamedTuple):
    """The states of an input, padded, and which of them a query may attend to."""

    values: Tensor  # batch x keys x width
    mask: Tensor  # batch x keys, bool: True where real; padding comes last
    grid: tuple[int, int] | None = None  # rows and columns, where keys are the cells of a picture
    causal: bool = False  # the n-th query may attend to the first n keys alone
    # Features of a picture's embedder that are finer than cells, the finest first: the pixels, then
    # each batch x channels x rows x columns.
    finer: tuple[Tensor, ...] = ()

    def visible(self) -> Mask:
        """The mask of attention to this memory."""
        # In a causal memory padding comes last, where no real query sees it: the mask says nothing
        # more, and kernels are faster without.
        return Mask(keys=None if self.causal else self.mask, causal=self.causal, grid=self.grid)

    def select(self, rows: Tensor) -> Memory:
        """The memory of some of the examples, in the order of `rows`."""
        finer = tuple(features[rows] for features in self.finer)
        return self._replace(values=self.values[rows], mask=self.mask[rows], finer=finer)

    def at_first(self) -> Tensor:
        """What the first query may see: the mean, or the first state: batch x width."""
        return self.values[:, 0] if self.causal else self.mean()

    def mean(self) -> Tensor:
        """The mean of the real states: batch x width."""
        real = self.mask[..., None]
        return (self.values * real).sum(1) / real.sum(1).clamp_min(1)

    def last(self) -> Tensor:
        """The last real state: batch x width."""
        position = (self.mask.sum(1) - 1).clamp_min(0)  # batch
        return self.values[torch.arange(len(position), device=position.device), position]
