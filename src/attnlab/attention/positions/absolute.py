"""Absolute positions, added to queries and keys before the heads, in every layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.parts import Position, Shape
from attnlab.errors import UserError


class NoPosition(Position):
    """No positions."""


class Sinusoidal(Position):
    """Sines and cosines of growing wavelength (Vaswani et al. 2017)."""

    def add_to_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return query + sinusoids(positions, query.shape[-1]).to(query.dtype)

    def add_to_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return key + sinusoids(positions, key.shape[-1]).to(key.dtype)


class LearnedPosition(Position):
    """A learned vector for each position, on either side (Gehring et al. 2017)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        inputs = shape.inputs
        self.query = nn.Embedding(inputs.max_length, inputs.query_dim)
        self.key = nn.Embedding(inputs.max_length, inputs.key_dim)
        for table in (self.query, self.key):
            nn.init.normal_(table.weight, std=0.02)

    def add_to_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return query + self._rows(self.query, positions).to(query.dtype)

    def add_to_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return key + self._rows(self.key, positions).to(key.dtype)

    def _rows(self, table: nn.Embedding, positions: Tensor) -> Tensor:
        if len(positions) > table.num_embeddings:
            raise UserError(
                f"attention/position=learned has {table.num_embeddings} positions, "
                f"{len(positions)} are needed"
            )
        return table(positions)


def sinusoids(positions: Tensor, width: int, *, interleaved: bool = False) -> Tensor:
    """Sines and cosines of growing wavelength (Vaswani et al. 2017).

    Args:
        positions: The positions, one-dimensional.
        width: How many numbers stand for each position.
        interleaved: Sine and cosine of a wavelength side by side, rather than all sines first.

    Returns:
        positions x width.
    """
    steps = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    frequency = torch.exp(steps * (-math.log(10000.0) / width))  # width / 2
    angle = positions[:, None].float() * frequency  # positions x width / 2
    pair = [angle.sin(), angle.cos()]
    joined = torch.stack(pair, -1).flatten(1) if interleaved else torch.cat(pair, -1)
    return joined[:, :width]
