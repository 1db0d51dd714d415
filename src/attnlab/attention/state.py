"""`State`: what a stepwise decoder keeps between calls, outside the module."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from attnlab.attention.call import Call
from attnlab.attention.mask import Mask
from attnlab.attention.parts import Past
from attnlab.attention.tensors import repeat_groups


class Eviction(Protocol):
    """What bounds a growing state (`attnlab.attention.eviction`)."""

    recent: int  # earlier queries that it depends on

    def __call__(self, call: Call, state: State) -> State:
        """The state after a call, within the budget."""
        ...


@dataclass
class State:
    """Projected keys and values, how many queries came before, and their weights.

    Cross-attention starts with all keys (`attention.start(key, value, mask)`); self-attention
    starts empty (`attention.start(None, None)`) and `grows` by the keys of every call. With an
    `eviction` it loses some again; those that are left have the positions `kept`.
    """

    key: Tensor | None  # batch x key_maps x keys x width, as the score compares them
    value: Tensor | None  # batch x heads or fewer x keys x width
    mask: Mask
    grows: bool
    position: int = 0  # queries answered so far
    past: Past | None = None
    recent: Tensor | None = None  # batch x maps x last queries x width, where a choice needs them
    eviction: Eviction | None = None
    kept: Tensor | None = None  # batch x groups x keys: positions, once there are fewer than came
    evicted: int = 0  # keys that are gone, of each group
    mass: Tensor | None = None  # batch x groups x keys: weight so far, where an eviction counts it

    @property
    def length(self) -> int:
        """Keys so far, evicted ones included."""
        return 0 if self.key is None else self.key.shape[2] + self.evicted

    def select(self, index: Tensor) -> State:
        """The state of these examples, in this order: what beam search does to its hypotheses."""
        return replace(
            self,
            key=_pick(self.key, index),
            value=_pick(self.value, index),
            mask=self.mask.select(index),
            past=None if self.past is None else self.past.select(index),
            recent=_pick(self.recent, index),
            kept=_pick(self.kept, index),
            mass=_pick(self.mass, index),
        )

    def reorder(self, index: Tensor) -> None:
        """Continue with these examples, each of which has the memory of the one it replaces.

        What a beam does at every step: keys that do not grow are the same and need not be moved.
        """
        if self.grows:
            self.key, self.value = _pick(self.key, index), _pick(self.value, index)
            self.mask = self.mask.select(index)
        for name in ("recent", "kept", "mass"):
            setattr(self, name, _pick(getattr(self, name), index))
        if self.past is not None:
            self.past = self.past.select(index)

    def advance(self, call: Call, grown: State | None, past: Past | None) -> None:
        """Move on by the queries of a call, with the keys and the past that they leave."""
        if grown is not None:
            left = grown if grown.eviction is None else grown.eviction(call, grown)
            for name in ("key", "value", "mask", "recent", "kept", "evicted", "mass"):
                setattr(self, name, getattr(left, name))
        if past is not None:
            self.past = past
        self.position += call.queries

    def with_queries(self, heads: Tensor, most: int) -> State:
        """The state with these queries as the latest, of which at most so many are kept.

        An eviction may need more of them.
        """
        most = max(most, 0 if self.eviction is None else self.eviction.recent)
        if not most:
            return self
        return replace(self, recent=_append(self.recent, heads)[:, :, -most:])

    def with_some(self, index: Tensor, positions: Tensor) -> State:
        """The state with some of its keys, by their numbers: batch x groups x keys that are left.

        `positions` are those of all keys that it has, batch x groups x keys.
        """
        left = index.shape[-1]
        return replace(
            self,
            key=_of_groups(self.key, index),
            value=_of_groups(self.value, index),
            kept=positions.gather(-1, index),
            evicted=self.length - left,
            mass=None if self.mass is None else self.mass.gather(-1, index),
        )

    def with_keys(self, key: Tensor, value: Tensor | None, mask: Mask) -> State:
        """A growing state after the keys of one more call; `mask.keys` tells which are real."""
        valid = None
        if self.mask.keys is not None or mask.keys is not None:
            known = _valid(self.mask, key.new_ones(key.shape[0], self.length))
            new = _valid(mask, key.new_ones(key.shape[0], key.shape[2]))
            valid = torch.cat([known, new], dim=1)
        kept = self.kept
        if kept is not None:
            new = torch.arange(self.length, self.length + key.shape[2], device=key.device)
            kept = torch.cat([kept, new.expand(*kept.shape[:2], -1)], -1)
        return replace(
            self,
            kept=kept,
            key=_append(self.key, key),
            value=None if value is None else _append(self.value, value),
            mask=replace(mask, keys=valid),
        )


def _valid(mask: Mask, ones: Tensor) -> Tensor:
    return ones.bool() if mask.keys is None else mask.keys


def _append(before: Tensor | None, new: Tensor) -> Tensor:
    return new if before is None else torch.cat([before, new], dim=2)


def _of_groups(tensor: Tensor | None, index: Tensor) -> Tensor | None:
    """Of batch x maps x keys x width, the keys of each group of maps: batch x groups x left."""
    if tensor is None:
        return None
    index = repeat_groups(index, tensor.shape[1])[..., None]
    return tensor.gather(2, index.expand(-1, -1, -1, tensor.shape[3]))


def _pick(tensor: Tensor | None, index: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[index]
