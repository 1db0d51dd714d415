"""Attention predicted before anything is decoded."""

from __future__ import annotations

from torch import nn

from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory
from attnlab.models.reader import Reading

SITE = "prediction.cross.0"


class AttentionPrediction(nn.Module):
    """encoder -> attention prediction -> attention distribution -> decoder -> output.

    Each place of the answer has a query of its own; its map over the input is made from the
    encoder's states alone, before any unit is written. What follows gets the weighted sums and no
    other sight of the input: the n-th output sees those of the first n places, so that it does
    not matter how many places are asked for.
    """

    def __init__(self, builder: ModelBuilder, config: AttentionConfig, places: int) -> None:
        super().__init__()
        self.queries = Queries(places, builder.dim)
        self.attention = builder.attention(config, SITE)
        self.norm = nn.LayerNorm(builder.dim)

    def forward(self, reading: Reading, places: int) -> Memory:
        """A memory of so many places, of which it has no more than it was built for."""
        memory = reading.memory
        queries = self.queries(reading.query_seed)[:, :places]  # batch x places x dim
        found = self.attention(queries, memory.values, memory.values, memory.visible())
        values = self.norm(found + queries)
        return Memory(values, values.new_ones(values.shape[:2]).bool(), causal=True)
