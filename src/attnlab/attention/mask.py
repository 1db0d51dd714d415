"""`Mask`: which keys each query may attend to.

It is lowered to a matrix or to a rule for one pair (FlexAttention); a test holds both equal.

Queries and keys are counted from zero on the same axis: query `i` is at position `start + i`, where
`start` is the number of earlier queries (stepwise decoding). So with fewer queries than keys and
`start = 0` the causal corner is at the top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from attnlab.attention.tensors import of_keys


class PositionRange(NamedTuple):
    """The positions of a block, from the first to the last; both tensors may hold many."""

    first: Tensor
    last: Tensor


class Pattern(Protocol):
    """A rule over positions alone, elementwise, so that it lowers to a matrix or to FlexAttention.

    Patterns are compared and hashed (a block mask is kept for equal ones): frozen dataclasses.

    A rule may also state its blocks, so that a kernel skips what no query may attend to:
    `of_blocks(query, key)` says of two ranges of positions whether some pair of them may be
    allowed, and whether every pair is; a rule may be `Divided` in parts. Others are evaluated pair
    by pair.
    """

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        """True where a query at position `query` may attend to a key at position `key`."""
        ...


@dataclass(frozen=True)
class Causal:
    """No key after the query."""

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return key <= query

    def of_blocks(self, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
        return key.first <= query.last, key.last <= query.first


@dataclass(frozen=True)
class Window:
    """Keys at most `left` before and `right` after the query."""

    left: int
    right: int

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return (key >= query - self.left) & (key <= query + self.right)

    def of_blocks(self, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
        some = (key.last >= query.first - self.left) & (key.first <= query.last + self.right)
        every = (key.first >= query.last - self.left) & (key.last <= query.first + self.right)
        return some, every


@runtime_checkable
class Divided(Pattern, Protocol):
    """A rule that is the union of parts, no pair of which is in two."""

    def parts(self) -> tuple[Part, ...]: ...


@dataclass(frozen=True)
class Part:
    """Rules over positions in an order of their own: first all multiples of `step`, then those
    with a remainder of one, and so on. The rules see places in that order (`axis`), with
    a wide gap from one remainder to the next."""

    GAP: ClassVar[int] = 1 << 24  # more positions than any input has

    step: int
    rules: tuple[Pattern, ...]

    def axis(self, positions: Tensor) -> Tensor:
        """The place of each position."""
        if self.step == 1:
            return positions
        return positions % self.step * self.GAP + positions // self.step


@dataclass(frozen=True)
class Mask:
    """Padding, causality, window, patterns and anything custom; `a & b` allows what both allow."""

    keys: Tensor | None = None  # batch x keys, True = a real key
    causal: bool = False
    window: tuple[int, int] | None = None  # keys allowed to the left and right
    patterns: tuple[Pattern, ...] = ()
    custom: Tensor | None = None  # broadcasts to batch x heads x queries x keys, True = allowed
    segments: Tensor | None = None  # batch x keys: the group of each key (sentences of a document)
    grid: tuple[int, int] | None = None  # height and width, where keys are the cells of an image

    def __and__(self, other: Mask) -> Mask:
        return Mask(
            keys=_both(self.keys, other.keys),
            causal=self.causal or other.causal,
            window=_narrower(self.window, other.window),
            patterns=self.patterns + tuple(p for p in other.patterns if p not in self.patterns),
            custom=_both(self.custom, other.custom),
            segments=self.segments if other.segments is None else other.segments,
            grid=self.grid or other.grid,
        )

    @property
    def rules(self) -> tuple[Pattern, ...]:
        """All rules over positions, the named ones included."""
        causal = (Causal(),) if self.causal and Causal() not in self.patterns else ()
        window = (Window(*self.window),) if self.window is not None else ()
        return causal + window + self.patterns

    @property
    def forbids(self) -> bool:
        """Whether any key may be forbidden, known without making a matrix."""
        return self.keys is not None or self.custom is not None or bool(self.rules)

    @property
    def only_causal(self) -> bool:
        return self.rules == (Causal(),) and self.keys is None and self.custom is None

    def allowed(self, positions: Tensor, keys: int) -> Tensor | None:
        """Which keys each query may attend to; None where nothing is forbidden.

        `positions` (queries) are those of the queries; the result broadcasts to
        batch x heads x queries x keys.
        """
        allowed = self.custom
        if self.keys is not None:
            allowed = _both(allowed, self.keys[:, None, None, :])  # batch x 1 x 1 x keys
        for rule in self.rules:
            index = torch.arange(keys, device=positions.device)
            allowed = _both(allowed, rule.allows(positions[:, None], index)[None, None])
        return allowed

    def of_kept(self, positions: Tensor, kept: Tensor, keys: int, maps: int) -> Mask:
        """The mask of some of the keys, as a matrix; of a single query, the latest of all, a causal
        mask needs none.

        Args:
            positions: queries, the position of each.
            kept: batch x groups x kept, positions of keys.
            keys: How many keys there are in all.
            maps: How many maps there are.
        """
        latest = len(positions) == 1 and self.keys is None and self.custom is None
        if latest and set(self.rules) <= {Causal()}:
            return Mask()
        allowed = self.allowed(positions, keys)
        return Mask() if allowed is None else Mask(custom=of_keys(allowed, kept, maps))

    def without_padding(self, tensor: Tensor) -> Tensor:
        """batch x keys x width, zero in the padding: its content, NaN included, cannot leak."""
        if self.keys is None:
            return tensor
        return tensor.masked_fill(~self.keys[:, :, None], 0)

    def bias(self, positions: Tensor, keys: int, dtype: torch.dtype) -> Tensor | None:
        """The dense lowering: zero where a key is allowed, minus infinity where it is not."""
        allowed = self.allowed(positions, keys)
        if allowed is None:
            return None
        zero = torch.zeros((), dtype=dtype, device=allowed.device)
        return torch.where(allowed, zero, float("-inf"))

    def rows(self, rows: Tensor | Sequence[int] | slice) -> Mask:
        """The mask of some query rows (the caller keeps their positions)."""
        if self.custom is None or self.custom.shape[-2] == 1:
            return self
        return replace(self, custom=self.custom[..., rows, :])

    def select(self, index: Tensor) -> Mask:
        """The mask of some examples, by their index in the batch."""
        custom = self.custom
        if custom is not None and custom.dim() == 4 and custom.shape[0] > 1:
            custom = custom[index]
        return replace(
            self,
            keys=None if self.keys is None else self.keys[index],
            custom=custom,
            segments=None if self.segments is None else self.segments[index],
        )


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _narrower(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), min(one[1], other[1])
