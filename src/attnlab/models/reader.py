"""`Reader`: all inputs of a batch to one memory, that of the input which is looked at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.models.memory import Memory


class Reading(NamedTuple):
    """What there is to look at, and what is asked about it."""

    memory: Memory
    asks: Tensor  # batch x dim: the other inputs, or where the only one ends


class Reader(nn.Module):
    """Each input through its front, all of them through one encoder.

    Several inputs are encoded side by side in one sequence, so that each state knows them all (as
    in ViLT, Kim et al. 2021); what is looked at is then taken out again.
    """

    def __init__(
        self,
        fronts: dict[str, nn.Module],
        encoder: nn.Module,
        looks_at: str,
        width: int,
        causal: bool,
    ) -> None:
        super().__init__()
        self.causal = causal  # whether each state knows only what stands before it
        self.names = tuple(fronts)
        self.fronts = nn.ModuleList(fronts.values())
        self.encoder, self.looks_at = encoder, looks_at
        self.kinds = nn.Embedding(len(fronts), width) if len(fronts) > 1 else None

    @property
    def front(self) -> nn.Module:
        """What sees the input that is looked at."""
        return self.fronts[self.names.index(self.looks_at)]

    def forward(self, batch: Batch) -> Reading:
        fronts = zip(self.names, self.fronts, strict=True)
        seen = [front(batch.inputs[name]) for name, front in fronts]
        if self.kinds is None:
            memory = self.encoder(seen[0]._replace(causal=self.causal))
            return Reading(memory, memory.last() if memory.grid is None else memory.mean())
        marked = [
            memory._replace(values=memory.values + kind)
            for memory, kind in zip(seen, self.kinds.weight, strict=True)
        ]
        read = dict(zip(self.names, encoded_together(self.encoder, marked), strict=True))
        memory = read.pop(self.looks_at)
        return Reading(memory, torch.stack([other.mean() for other in read.values()]).sum(0))


def encoded_together(encoder: nn.Module, parts: list[Memory]) -> list[Memory]:
    """Several memories through an encoder as one sequence, without padding in between."""
    mask = torch.cat([part.mask for part in parts], 1)  # batch x all keys
    order = (~mask).long().argsort(dim=1, stable=True)  # real keys first
    values = _taken(torch.cat([part.values for part in parts], 1), order)
    encoded = encoder(Memory(values, mask.gather(1, order)))
    states = _taken(encoded.values, order.argsort(1))  # batch x all keys x dim
    pieces = states.split([part.mask.shape[1] for part in parts], 1)
    return [part._replace(values=piece) for part, piece in zip(parts, pieces, strict=True)]


def _taken(values: Tensor, order: Tensor) -> Tensor:
    """values: batch x keys x width; order: batch x keys."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))
