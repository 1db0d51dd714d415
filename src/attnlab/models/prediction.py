"""`AttentionPrediction`: attention that is predicted before decoding."""

from __future__ import annotations

from torch import nn

from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory
from attnlab.models.reader import Reading

SITE = "prediction.cross.0"


class AttentionPrediction(nn.Module):
    """encoder -> attention prediction -> attention distribution -> decoder -> output.

    Each step of the answer has a learned query; its map over the input depends on the encoder's
    states alone, before any unit is written. The decoder gets the weighted sums and nothing else of
    the input: its n-th output sees those of the first n steps, so that the number of steps does not
    change it.
    """

    def __init__(self, builder: ModelBuilder, config: AttentionConfig, steps: int) -> None:
        super().__init__()
        self.queries = Queries(steps, builder.dim)
        self.attention = builder.attention(config, SITE)
        self.norm = nn.LayerNorm(builder.dim)

    def forward(self, reading: Reading, steps: int) -> Memory:
        """A memory of as many steps, at most those that it was built for."""
        memory = reading.memory
        queries = self.queries(reading.query_seed)[:, :steps]  # batch x steps x dim
        context = self.attention(queries, memory.values, memory.values, memory.visible())
        values = self.norm(context + queries)
        return Memory(values, values.new_ones(values.shape[:2]).bool(), causal=True)
