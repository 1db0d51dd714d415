"""Does the map decide? Replace it by another one and see which answers change.

Jain & Wallace 2019 permute maps, Wiegreffe & Pinter 2019 make them uniform: where the answers stay
as they were, the attention is not what decides.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MapChange = Callable[[Tensor, Tensor | None], Tensor]


def uniform(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """Every allowed key alike; both batch x heads x queries x keys."""
    real = torch.ones_like(weights) if allowed is None else allowed.expand_as(weights).to(weights)
    return real / real.sum(-1, keepdim=True).clamp_min(1)


def permuted(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """The same weights on other allowed keys, in an order drawn anew for every row."""
    real = torch.ones_like(weights) if allowed is None else allowed.expand_as(weights).to(weights)
    random = torch.Generator(weights.device).manual_seed(0)
    noise = torch.rand(weights.shape, generator=random, device=weights.device)
    # Forbidden keys come last in both orders, so that weights move among allowed keys only.
    target = (noise + 2 * (1 - real)).argsort(-1)
    source = torch.arange(weights.shape[-1], device=weights.device) + weights.shape[-1] * (1 - real)
    moved = weights.gather(-1, source.argsort(-1))
    return torch.zeros_like(weights).scatter(-1, target, moved)


MAP_CHANGES: dict[str, MapChange] = {"uniform": uniform, "permuted": permuted}

