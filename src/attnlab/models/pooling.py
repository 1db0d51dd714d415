"""Learned queries over a memory: one pass, or several hops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory


class Pooling(nn.Module):
    """Learned queries, shifted by the query seed, attend to a memory."""

    def __init__(
        self,
        builder: ModelBuilder,
        attention: AttentionConfig,
        queries: int = 1,
        site: str = "pooling",
    ) -> None:
        super().__init__()
        self.queries = Queries(queries, builder.dim)
        self.attention = builder.attention(attention, site)

    def forward(self, memory: Memory, query_seed: Tensor) -> Tensor:
        """The context of each query: batch x queries x dim."""
        queries = self.queries(query_seed)
        return self.attention(queries, memory.values, memory.values, memory.visible())

    def at_every_position(self, memory: Memory) -> Tensor:
        """The context of the one query at each position, whose state shifts it.

        batch x length x dim.
        """
        states = memory.values
        queries = self.queries(states.flatten(0, 1)).view_as(states)
        return self.attention(queries, states, states, memory.visible())


class Hops(Pooling):
    """Attends several times; each context shifts the next query (Sukhbaatar et al. 2015).

    Every hop is a call at the same site, and so a row of its map.
    """

    def __init__(self, builder: ModelBuilder, attention: AttentionConfig, hops: int) -> None:
        super().__init__(builder, attention)
        width = builder.dim + self.attention.output_dim
        self.updates = nn.ModuleList(nn.Linear(width, builder.dim) for _ in range(hops))

    def forward(self, memory: Memory, query_seed: Tensor) -> Tensor:
        """The query after the last hop: batch x 1 x dim."""
        query = self.queries(query_seed)
        for update in self.updates:
            context = self.attention(query, memory.values, memory.values, memory.visible())
            query = query + torch.tanh(update(torch.cat([query, context], -1)))
        return query
