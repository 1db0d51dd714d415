"""Rules over positions that structures are made of, and the blocks that each of them reads.

Rules are symmetric in time: joined with a causal mask they keep their past half.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.mask import Part, PositionRange, Window


@dataclass(frozen=True)
class Dilated:
    """Every `step`-th key, `reach` of them on each side."""

    reach: int
    step: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        apart = (query - key).abs()
        return (apart <= self.reach * self.step) & (apart % self.step == 0)

    def parts(self) -> tuple[Part, ...]:
        """A window over positions of one remainder."""
        return (Part(self.step, (Window(self.reach, self.reach),)),)


@dataclass(frozen=True)
class Strided:
    """The nearest `stride` keys, and every `stride`-th beyond."""

    stride: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        apart = (query - key).abs()
        return (apart < self.stride) | (apart % self.stride == 0)

    def parts(self) -> tuple[Part, ...]:
        """The near keys, and all others of the query's own remainder."""
        near = Part(1, (Window(self.stride - 1, self.stride - 1),))
        return near, Part(self.stride, (Block(Part.GAP, 0), Another()))


@dataclass(frozen=True)
class Another:
    """Every key but the query's own."""

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return query != key

    def of_blocks(self, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
        apart = (key.first > query.last) | (query.first > key.last)
        return apart | (query.first < query.last) | (key.first < key.last), apart


@dataclass(frozen=True)
class Block:
    """Keys in the query's block of `size` positions, and in `neighbours` blocks on each side."""

    size: int
    neighbours: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return (query // self.size - key // self.size).abs() <= self.neighbours

    def of_blocks(self, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
        one, other = (
            PositionRange(r.first // self.size, r.last // self.size) for r in (query, key)
        )
        return Window(self.neighbours, self.neighbours).of_blocks(one, other)


@dataclass(frozen=True)
class BigBird:
    """Near blocks, the first blocks, and random ones.

    Every block picks `random_blocks` among those up to itself, and two blocks are linked if
    either has picked the other. So the links do not depend on how long the input is, nor on its
    padding, and steps of decoding have the pattern of training.
    """

    block: int
    window: int
    global_blocks: int
    random_blocks: int
    seed: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        one, other = query // self.block, key // self.block
        linked = (one - other).abs() <= self.window
        linked = linked | (one < self.global_blocks) | (other < self.global_blocks)
        for number in range(self.random_blocks):
            linked = (
                linked | (self._pick(one, number) == other) | (self._pick(other, number) == one)
            )
        return linked

    def of_blocks(self, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
        """From the rule of each pair of its own blocks, which is the same for all their pairs."""
        ends = [
            PositionRange(run.first // self.block, run.last // self.block) for run in (query, key)
        ]
        own = [torch.arange(int(run.last.max()) + 1, device=run.last.device) for run in ends]
        linked = self.allows(own[0][:, None] * self.block, own[1] * self.block)
        # sums over rectangles of blocks, from sums over those that begin at the corner
        sums = pad(linked.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
        (top, bottom), (left, right) = ((run.first, run.last + 1) for run in ends)
        found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return found > 0, found == (bottom - top) * (right - left)

    def _pick(self, block: Tensor, number: int) -> Tensor:
        """A block from 0 to `block`, by a hash that mixes block, number and seed.

        In int64 whatever the type of the positions (FlexAttention counts in int32): the products
        would overflow, and the pattern would be another.
        """
        block = block.long()
        mixed = (block * 7919 + number * 104729 + self.seed * 1299709 + 15485863) % 2147483647
        mixed = (mixed * 48271) % 2147483647
        return (mixed * 16807) % 2147483647 % (block + 1)
