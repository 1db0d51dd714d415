"""Learned queries: over a memory, before decoding, and over the words of each sentence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import ModelBuilder, Queries
from attnlab.models.memory import Memory, Reading

PREDICTION_SITE = "prediction.cross.0"

WORDS_SITE = "words.pooling"  # of the map over the words of each sentence


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
        self.attention = builder.attention(config, PREDICTION_SITE)
        self.norm = nn.LayerNorm(builder.dim)

    def forward(self, reading: Reading, steps: int) -> Memory:
        """A memory of as many steps, at most those that it was built for."""
        memory = reading.memory
        queries = self.queries(reading.query_seed)[:, :steps]  # batch x steps x dim
        context = self.attention(queries, memory.values, memory.values, memory.visible())
        values = self.norm(context + queries)
        return Memory(values, values.new_ones(values.shape[:2]).bool(), causal=True)


class Bag(nn.Module):
    """The sum of the words, divided by the root of their number; order does not count."""

    def __init__(self, builder: ModelBuilder) -> None:
        super().__init__()

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """words: batch x sentences x words x width; without words: batch x sentences x width."""
        length = mask.sum(-1, keepdim=True).clamp_min(1)
        return (words * self.shares(words, mask)).sum(-2) / length.sqrt()

    def shares(self, words: Tensor, mask: Tensor) -> Tensor:
        """The factor of each word: broadcasts to batch x sentences x words x width."""
        return mask[..., None].to(words)


class Position(Bag):
    """A sum in which the position of a word weighs its features.

    l_kj = (1 - j/J) - (k/d) (1 - 2j/J) for word j of J, feature k of d (Sukhbaatar et al. 2015).
    """

    def shares(self, words: Tensor, mask: Tensor) -> Tensor:
        length, width = words.shape[-2:]
        counted = mask.sum(-1, keepdim=True).clamp_min(1)  # batch x sentences x 1, J
        position = torch.arange(1, length + 1).to(words) / counted  # batch x sentences x words, j/J
        feature = torch.arange(1, width + 1).to(words) / width  # width, k/d
        shares = (1 - position[..., None]) - feature * (1 - 2 * position[..., None])
        return shares * mask[..., None]


class WordAttention(nn.Module):
    """One query attends to the words of each sentence (Yang et al. 2016).

    At its site every sentence of the batch, padding included, is an example of its own.
    """

    def __init__(self, builder: ModelBuilder, *, attention: AttentionConfig) -> None:
        super().__init__()
        width = builder.embedding_width
        sizes = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), width)
        self.attention = builder.attention(attention, WORDS_SITE, **sizes)
        self.query = nn.Parameter(width**-0.5 * torch.randn(width))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        values = words.flatten(0, 1)  # all sentences x words x width
        query = self.query.expand(len(values), 1, -1)
        context = self.attention(query, values, values, Mask(keys=mask.flatten(0, 1)))
        return context.view(*mask.shape[:2], -1)  # batch x sentences x width
