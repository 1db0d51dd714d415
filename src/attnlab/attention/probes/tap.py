"""Changes of maps: uninformed or misplaced maps in the place of the model's own.

Jain & Wallace 2019 permute maps, Wiegreffe & Pinter 2019 make them uniform.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.mechanism import MapChange
from attnlab.attention.probes.selectors import resolve


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


class Tap:
    """While open, keeps every call at one site; maps are computed on demand.

    Where the kernel makes logits anyway (additive, sparse, recurrent ...) they are shared with
    the forward pass; where it is fused they are computed once more, for the loss.
    """

    def __init__(self, model: nn.Module, selector: str) -> None:
        """Choose a map of a model; a wrong `selector` is a `UserError` with what there is."""
        self.selection = resolve(model, selector)
        self.calls: list[Call] = []

    def __enter__(self) -> Tap:
        self.selection.attention.attached.observers.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.observers.remove(self)

    @property
    def role(self) -> str:
        """What the attention at its site does: self, cross, pooling."""
        return self.selection.attention.role

    def record(self, call: Call) -> None:
        self.calls.append(call)

    def clear(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()

    def weights(self) -> Tensor:
        """batch x chosen heads x queries x keys; the steps of a decoder are its queries."""
        attention = self.selection.attention
        return self._joined([self.selection.pick(attention.maps(c)) for c in self.calls])

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        attention = self.selection.attention
        return self._joined(
            [self.selection.pick_log(attention.maps(c, log=True)) for c in self.calls]
        )

    def used(self) -> Tensor:
        """The weights that the forward pass used: what a normalizer sampled, if it samples.

        `(tap.used() * tap.log_weights()).sum(-1)` is then the log probability of the sample.
        """
        attention = self.selection.attention
        used = [attention.maps(c) if c.used_weights is None else c.used_weights for c in self.calls]
        return self._joined([self.selection.pick(w) for w in used])

    def _joined(self, maps: list[Tensor]) -> Tensor:
        if not maps:
            raise RuntimeError(f"nothing passed {self.selection.attention.site} while tapped")
        return torch.cat(maps, dim=2) if len(maps) > 1 else maps[0]


class Intervention:
    """While open, the context at one site is computed with changed weights.

    `change(weights, allowed)` gets batch x chosen heads x queries x keys and where they may be
    other than zero (None: everywhere), and returns weights of the same shape.
    """

    def __init__(self, model: nn.Module, selector: str, change: MapChange) -> None:
        self.selection = resolve(model, selector)
        self.change = on_heads(change, self.selection.heads)

    def __enter__(self) -> Intervention:
        self.selection.attention.attached.changes.append(self.change)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.changes.remove(self.change)
