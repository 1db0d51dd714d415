"""Changes of maps: uninformed or misplaced maps in the place of the model's own.

Jain & Wallace 2019 permute maps, Wiegreffe & Pinter 2019 make them uniform.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnlab.attention.mechanism import MapChange


def uniform(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """The same weight for every allowed key; both batch x heads x queries x keys."""
    real = _allowed(weights, allowed)
    return real / real.sum(-1, keepdim=True).clamp_min(1)


class Permuted:
    """The same weights on other allowed keys, in a new random order for every row."""

    def __init__(self, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        real = _allowed(weights, allowed)
        noise = torch.rand(weights.shape, generator=self.random).to(weights)
        # Forbidden keys come last in both orders, so that weights move among allowed keys only.
        target = (noise + 2 * (1 - real)).argsort(-1)
        positions = torch.arange(weights.shape[-1], device=weights.device)
        source = (positions + weights.shape[-1] * (1 - real)).argsort(-1)
        return torch.zeros_like(weights).scatter(-1, target, weights.gather(-1, source))


class Given:
    """Given maps, batch x heads x queries x keys, in the place of the model's own.

    A stepwise decoder takes its rows one after the other.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self.done = 0  # rows taken in this forward pass

    def __call__(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        rows = weights.shape[2]
        taken = self.maps[:, :, self.done : self.done + rows]
        self.done = (self.done + rows) % self.maps.shape[2]
        return taken.to(weights).expand_as(weights)


def on_heads(change: MapChange, heads: Sequence[int] | None) -> MapChange:
    """The same change for some heads alone (None: all of them)."""
    if heads is None:
        return change
    chosen = list(heads)

    def changed(weights: Tensor, allowed: Tensor | None) -> Tensor:
        if allowed is not None and allowed.shape[1] > 1:
            allowed = allowed[:, chosen]
        made = weights.clone()
        made[:, chosen] = change(weights[:, chosen], allowed)
        return made

    return changed


def permuted(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """The same weights on other allowed keys, in one random order."""
    return Permuted()(weights, allowed)


MAP_CHANGES: dict[str, MapChange] = {"uniform": uniform, "permuted": permuted}


def _allowed(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """1 where a key is allowed, else 0."""
    if allowed is None:
        return torch.ones_like(weights)
    return allowed.expand_as(weights).to(weights)
