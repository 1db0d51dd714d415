"""`Tap`: the maps of a forward pass in its graph; `Intervention`: other maps in their place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.mechanism import MapChange
from attnlab.attention.probes.map_changes import on_heads
from attnlab.attention.probes.selectors import resolve


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
