"""Predictors of blocks: what `Predicted` learns to choose by, in two kinds.

`Learned` compares blocks, `Indexer` compares positions. Both see queries and keys cut off from the
graph, and score every block of keys for each map and block of queries.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad
from torch.utils.checkpoint import checkpoint

from attnlab.attention.block_scores import NEVER, Sides, pooled
from attnlab.attention.call import Call
from attnlab.attention.parts import Shape

DISTANCES = 16  # buckets of distances, each twice as wide as the one before
PAIRS_AT_ONCE = 1 << 22  # scores of positions in memory together: 16 MiB


class BlockPredictor(nn.Module, ABC):
    """Scores from the content of blocks, and a bias for how far they are apart."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.maps = shape.maps
        self.queries, self.keys = shape.maps * shape.query_width, shape.key_maps * shape.key_width
        self.near = nn.Parameter(torch.zeros(shape.maps, 2 * DISTANCES))
        self.first = nn.Parameter(torch.zeros(shape.maps, 1, 1))

    @abstractmethod
    def content(self, sides: Sides) -> Tensor:
        """batch x maps x query blocks x key blocks, without distances."""

    def forward(self, sides: Sides, call: Call) -> Tensor:
        """batch x maps x query blocks x key blocks."""
        scores, distance = self.content(sides), sides.distance
        if sides.causal:  # its keys are not all there yet
            scores = scores.masked_fill(distance == 0, 0.0)
        bucket = (distance.abs() + 1).log2().long().clamp_max(DISTANCES - 1)
        bucket = torch.where(distance < 0, bucket + DISTANCES, bucket)
        scores = scores + self.near[:, bucket].to(scores)
        start = torch.arange(scores.shape[-1], device=scores.device) == 0
        return scores + self.first.to(scores) * start


class Learned(BlockPredictor):
    """q.k of projected means, maxima and minima of blocks (Gao et al. 2024, "SeerAttention")."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__(shape)
        self.query = nn.Linear(3 * self.queries, shape.maps * width)
        self.key = nn.Linear(3 * self.keys, shape.maps * width)

    def content(self, sides: Sides) -> Tensor:
        query = self._of_blocks(self.query, sides.query, sides.asking)
        key = self._of_blocks(self.key, sides.key, sides.real)
        return query @ key.mT / math.sqrt(query.shape[-1])

    def _of_blocks(self, project: nn.Linear, blocks: Tensor, there: Tensor) -> Tensor:
        """batch x maps x blocks x width, of batch x heads x blocks x size x width."""
        features = torch.cat(pooled(blocks, there), -1)  # batch x heads x blocks x 3 width
        made = _projected(project, features.transpose(1, 2).flatten(2))
        return made.unflatten(-1, (self.maps, -1)).transpose(1, 2)


class Indexer(BlockPredictor):
    """sum_j w_j ReLU(q_j.k) of each position and each before it, by a few small heads that share
    their keys (DeepSeek-AI 2025, "DeepSeek-V3.2", the lightning indexer). The weights w depend on
    the query, and each map has its own. A block has the highest score that a position in it has
    with any query that counts.

    It compares all positions, and so takes time quadratic in their number.
    """

    def __init__(self, shape: Shape, width: int, heads: int) -> None:
        super().__init__(shape)
        self.heads = heads
        self.query = nn.Linear(self.queries, heads * width)
        self.key = nn.Linear(self.keys, width)
        self.weight = nn.Linear(self.queries, shape.maps * heads)

    def content(self, sides: Sides) -> Tensor:
        queries = sides.query.permute(0, 2, 3, 1, 4).flatten(3)  # batch x blocks x size x features
        query = _projected(self.query, queries).unflatten(-1, (self.heads, -1))
        weight = _projected(self.weight, queries).unflatten(-1, (self.maps, self.heads))
        key = _projected(self.key, sides.key.permute(0, 2, 3, 1, 4).flatten(3))
        blocks, keys = queries.shape[1], key.shape[1]
        pairs = max(self.maps, self.heads) * queries[:, 0].numel() // queries.shape[-1] * keys
        step = max(1, PAIRS_AT_ONCE // (pairs * key.shape[2]))  # query blocks
        best = self._best
        if torch.is_grad_enabled():
            best = partial(checkpoint, self._best, use_reentrant=False, preserve_rng_state=False)
        parts = []
        for start in range(0, blocks, step):
            rows = slice(start, start + step)
            read = min(keys, sides.first + start + step) if sides.causal else keys
            count = sides.asking[:, rows], sides.real[:, :read]
            part = best(query[:, rows], weight[:, rows], key[:, :read], *count)
            parts.append(pad(part, (0, keys - read), value=NEVER))
        return torch.cat(parts, 2)

    def _best(
        self, query: Tensor, weight: Tensor, key: Tensor, asking: Tensor, real: Tensor
    ) -> Tensor:
        """batch x maps x query blocks x key blocks: the highest score of a pair of positions.

        query: batch x query blocks x size x heads x width; weight: ... x size x maps x heads; key:
        batch x key blocks x size x width; which of them count: batch or 1 x blocks x size.
        """
        batch, blocks, size, heads, width = query.shape
        alike = query.reshape(batch, -1, width) @ key.flatten(1, 2).mT / math.sqrt(width)
        alike = alike.view(batch, blocks * size, heads, -1).relu()  # ... x heads x keys
        scores = weight.reshape(batch, blocks * size, -1, heads) @ alike / math.sqrt(heads)
        scores = scores.view(batch, blocks, size, -1, *key.shape[1:3])
        scores = scores.masked_fill(~real[:, None, None, None], NEVER).amax(-1)
        scores = scores.masked_fill(~asking[..., None, None], NEVER).amax(2)
        return scores.transpose(1, 2)


def _projected(project: nn.Linear, features: Tensor) -> Tensor:
    """... x features, normalised, through a layer in their own precision."""
    features = layer_norm(features, features.shape[-1:])
    return linear(features, project.weight.to(features), project.bias.to(features))
