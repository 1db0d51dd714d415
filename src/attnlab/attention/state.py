"""`State`: what a stepwise decoder keeps between calls, outside the module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Past


@dataclass
class State:
    """Projected keys and values, how many queries came before, and their weights.

    Cross-attention starts with all keys (`attention.start(key, value, mask)`); self-attention
    starts empty (`attention.start(None, None)`) and `grows` by the keys of every call.
    """

    key: Tensor | None  # batch x key_maps x keys x width, as the score compares them
    value: Tensor | None  # batch x heads or fewer x keys x width
    mask: Mask
    grows: bool
    position: int = 0  # queries answered so far
    past: Past | None = None
    recent: Tensor | None = None  # batch x maps x last queries x width, where a choice needs them

    @property
    def length(self) -> int:
        """Keys so far."""
        return 0 if self.key is None else self.key.shape[2]

    def select(self, index: Tensor) -> State:
        """The state of these examples, in this order: what beam search does to its hypotheses."""
        return replace(
            self,
            key=_pick(self.key, index),
            value=_pick(self.value, index),
            mask=self.mask.select(index),
            past=None if self.past is None else self.past.select(index),
            recent=_pick(self.recent, index),
        )

    def reorder(self, index: Tensor) -> None:
        """Continue with these examples, each of which has the memory of the one it replaces.

        What a beam does at every step: keys that do not grow are the same and need not be moved.
        """
        if self.grows:
            self.key, self.value = _pick(self.key, index), _pick(self.value, index)
            self.mask = self.mask.select(index)
        self.recent = _pick(self.recent, index)
        if self.past is not None:
            self.past = self.past.select(index)

    def advance(self, grown: State | None, past: Past | None, queries: int) -> None:
        """Move on by some queries, with the keys and the past that they leave."""
        if grown is not None:
            self.key, self.value, self.mask = grown.key, grown.value, grown.mask
            self.recent = grown.recent
        if past is not None:
            self.past = past
        self.position += queries

    def with_queries(self, query: Tensor, most: int) -> State:
        """The state with these queries as the latest, of which at most so many are kept."""
        return replace(self, recent=_append(self.recent, query)[:, :, -most:])

    def with_keys(self, key: Tensor, value: Tensor | None, mask: Mask) -> State:
        """A growing state after the keys of one more call; `mask.keys` tells which are real."""
        valid = None
        if self.mask.keys is not None or mask.keys is not None:
            known = _valid(self.mask, key.new_ones(key.shape[0], self.length))
            new = _valid(mask, key.new_ones(key.shape[0], key.shape[2]))
            valid = torch.cat([known, new], dim=1)
        return replace(
            self,
            key=_append(self.key, key),
            value=None if value is None else _append(self.value, value),
            mask=replace(mask, keys=valid),
        )


def _valid(mask: Mask, ones: Tensor) -> Tensor:
    return ones.bool() if mask.keys is None else mask.keys


def _append(before: Tensor | None, new: Tensor) -> Tensor:
    return new if before is None else torch.cat([before, new], dim=2)


def _pick(tensor: Tensor | None, index: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[index]
