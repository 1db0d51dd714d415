"""`Reader`: all inputs of a batch to the memory of the attended input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.models.memory import Memory
from attnlab.models.missing import Missing


class Reading(NamedTuple):
    """The memory that is attended to, and the seed of the query."""

    memory: Memory
    query_seed: Tensor  # batch x dim: mean of the other inputs, or last state of the only one


class Reader(nn.Module):
    """Each input through its embedder, then all of them through an encoder.

    The result is the part of the attended input.
    """

    def __init__(
        self,
        embedders: dict[str, nn.Module],
        encoder: nn.Module,
        attended: str,
        causal: bool,
        missing: Missing | None,
    ) -> None:
        super().__init__()
        self.causal = causal  # whether each state of the attended input sees its past alone
        self.names = tuple(embedders)
        self.embedders = nn.ModuleList(embedders.values())
        self.missing = missing
        self.encoder, self.attended = encoder, attended  # of one memory, or of several at once

    @property
    def embedder(self) -> nn.Module:
        """The embedder of the attended input."""
        return self.embedders[self.names.index(self.attended)]

    def forward(self, batch: Batch) -> Reading:
        inputs = [batch.inputs[name] for name in self.names]
        memories = [embed(each) for embed, each in zip(self.embedders, inputs, strict=True)]
        if self.missing is not None:
            memories = self.missing(memories, inputs)
        if self.causal:
            number = self.names.index(self.attended)
            memories[number] = memories[number]._replace(causal=True)
        if len(memories) == 1:
            memory = self.encoder(memories[0])
            return Reading(memory, memory.last() if memory.grid is None else memory.mean())
        read = dict(zip(self.names, self.encoder(memories), strict=True))
        memory = read.pop(self.attended)
        return Reading(memory, torch.stack([other.mean() for other in read.values()]).sum(0))
