"""Structures that are a rule over positions, which becomes part of the mask.

Rules are symmetric in time: joined with a causal mask they keep their past half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from attnlab.attention.mask import Causal, Pattern, Window
from attnlab.attention.parts import Shape, Structure


class Global(Structure):
    """Every key."""


class CausalStructure(Structure):
    """No key after the query."""

    def patterns(self) -> tuple[Pattern, ...]:
        return (Causal(),)


class _Patterned(Structure):
    """One rule, whose settings are the structure's."""

    rule: ClassVar[type]

    def __init__(self, shape: Shape, **settings: Any) -> None:
        super().__init__(shape)
        self.pattern: Pattern = self.rule(**settings)

    def patterns(self) -> tuple[Pattern, ...]:
        return (self.pattern,)


class WindowStructure(_Patterned):
    """Keys near the query's own position (Luong et al. 2015, local-m; Beltagy, Peters, Cohan
    2020, "Longformer")."""

    rule = Window


@dataclass(frozen=True)
class Dilated:
    """Every `step`-th key, `reach` of them on each side."""

    reach: int
    step: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        apart = (query - key).abs()
        return (apart <= self.reach * self.step) & (apart % self.step == 0)


class DilatedStructure(_Patterned):
    """Every n-th key of a window (Beltagy, Peters, Cohan 2020)."""

    rule = Dilated


@dataclass(frozen=True)
class Strided:
    """The nearest `stride` keys, and every `stride`-th beyond."""

    stride: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        apart = (query - key).abs()
        return (apart < self.stride) | (apart % self.stride == 0)


class StridedStructure(_Patterned):
    """Near keys, and every n-th (Child et al. 2019, "Generating Long Sequences with Sparse
    Transformers")."""

    rule = Strided


@dataclass(frozen=True)
class Block:
    """Keys in the query's block of `size` positions, and in `neighbours` blocks on each side."""

    size: int
    neighbours: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return (query // self.size - key // self.size).abs() <= self.neighbours


class BlockStructure(_Patterned):
    """The query's own block and its neighbours (Qiu et al. 2020, "Blockwise Self-Attention")."""

    rule = Block


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

    def _pick(self, block: Tensor, number: int) -> Tensor:
        """A block from 0 to `block`, by a hash that mixes block, number and seed.

        In int64 whatever the type of the positions (FlexAttention counts in int32): the products
        would overflow, and the pattern would be another.
        """
        block = block.long()
        mixed = (block * 7919 + number * 104729 + self.seed * 1299709 + 15485863) % 2147483647
        mixed = (mixed * 48271) % 2147483647
        return (mixed * 16807) % 2147483647 % (block + 1)


class BigBirdStructure(_Patterned):
    """Window, global and random blocks (Zaheer et al. 2020, "Big Bird")."""

    rule = BigBird
