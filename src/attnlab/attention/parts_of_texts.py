"""`TextPart`: the positions of each text that one of several processes reads (sequence parallel).

Each process has the states of its own positions alone; where they attend to earlier ones, keys and
values are gathered from all processes, and gradients go back the same way (as the context parallel
attention of Llama 3, Dubey et al. 2024, does it: gathered, not passed on in a ring).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from attnlab.attention.call import Call
from attnlab.attention.mask import Mask
from attnlab.attention.parts import Past
from attnlab.attention.state import State


@dataclass(frozen=True)
class TextPart:
    """Of `world` parts of equal length, the one of process `rank`."""

    rank: int
    world: int
    group: Any = None  # the processes; None is all of them

    def of(self, sequences: Tensor, padding: float) -> Tensor:
        """batch x length -> batch x length of a part; the last part may end with padding."""
        length = -(-sequences.shape[1] // self.world)
        whole = pad(sequences, (0, length * self.world - sequences.shape[1]), value=padding)
        return whole[:, self.rank * length : (self.rank + 1) * length]

    def states(self, states: Sequence[State], length: int) -> list[State]:
        """States before the first unit as those of a part of this length."""
        start = self.rank * length
        return [TextPartState(None, None, each.mask, True, start, part=self) for each in states]

    def up_to_own(self, *sides: Tensor) -> list[Tensor]:
        """batch x maps x positions x width of this part -> those of all parts up to this one.

        All sides are gathered at once.
        """
        flat = torch.cat([side.flatten() for side in sides])
        gathered = _Gathered.apply(flat, self)[: self.rank + 1]  # parts x numbers
        cuts = gathered.split([side.numel() for side in sides], 1)
        made = []
        for cut, side in zip(cuts, sides, strict=True):
            parts = cut.unflatten(1, side.shape)  # parts x batch x maps x positions x width
            made.append(parts.movedim(0, 2).flatten(2, 3).to(side.dtype))
        return made


class _Gathered(torch.autograd.Function):
    """What each process has, one after the other; each gets the slopes of all for its own."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, part: TextPart) -> Tensor:
        ctx.part = part
        gathered = own.new_empty(part.world, *own.shape)
        dist.all_gather(list(gathered.unbind()), own.contiguous(), group=part.group)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, slopes: Tensor
    ) -> tuple[Tensor, None]:
        own = slopes.new_empty(slopes.shape[1:])
        dist.reduce_scatter(own, list(slopes.contiguous().unbind()), group=ctx.part.group)
        return own, None


@dataclass
class TextPartState(State):
    """The state in which a part of a text is read: earlier keys are those of other processes."""

    part: TextPart | None = None

    @property
    def length(self) -> int:
        """Keys of the parts before this one."""
        return self.position

    def with_keys(self, key: Tensor, value: Tensor | None, mask: Mask) -> State:
        """With the keys of all parts up to this one; what comes later is not for its queries."""
        assert self.part is not None and value is not None
        key, value = self.part.up_to_own(key, value)
        return replace(self, key=key, value=value, mask=replace(mask, keys=None))

    def advance(self, call: Call, grown: State | None, past: Past | None) -> None:
        """It stays as it is: a layer may be computed once more."""
