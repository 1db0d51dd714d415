"""Positions as rotations: inner products then depend on distances alone."""

from __future__ import annotations

import torch
from torch import Tensor

from attnlab.attention.parts import Position, Shape


class Rope(Position):
    """Pairs of dimensions turned by position times frequency (Su et al. 2021, "RoFormer")."""

    def __init__(self, shape: Shape, *, base: float) -> None:
        super().__init__(shape)
        self.base = base

    def turn_query(self, query: Tensor, positions: Tensor) -> Tensor:
        return self._turned(query, positions)

    def turn_key(self, key: Tensor, positions: Tensor) -> Tensor:
        return self._turned(key, positions)

    def _turned(self, x: Tensor, positions: Tensor) -> Tensor:
        """Dimension i is paired with i + half; an odd last one stays as it is."""
        half = x.shape[-1] // 2
        steps = torch.arange(half, device=x.device, dtype=torch.float32)
        angle = positions[:, None].float() * self.base ** (-steps / max(half, 1))
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)  # length x half
        one, other, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat([one * cos - other * sin, other * cos + one * sin, rest], dim=-1)
