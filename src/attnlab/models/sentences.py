"""Vectors of sentences, from the vectors of their words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask
from attnlab.config.attention import AttentionConfig
from attnlab.models.builder import ModelBuilder

SITE = "words.pooling"  # of the map over the words of each sentence


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
        self.attention = builder.attention(attention, SITE, **sizes)
        self.query = nn.Parameter(width**-0.5 * torch.randn(width))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        values = words.flatten(0, 1)  # all sentences x words x width
        query = self.query.expand(len(values), 1, -1)
        context = self.attention(query, values, values, Mask(keys=mask.flatten(0, 1)))
        return context.view(*mask.shape[:2], -1)  # batch x sentences x width
