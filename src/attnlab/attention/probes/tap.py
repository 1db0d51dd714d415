"""`Tap`: the maps of a forward pass as part of its graph, for losses on attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.probes.selectors import resolve


class Tap:
    """While open, keeps every call at one site; the maps are made when they are asked for.

    Where the kernel makes logits anyway (additive, sparse, recurrent ...) they are shared with
    the forward pass; where it is fused they are made once more, for the loss.
    """

    def __init__(self, model: nn.Module, selector: str) -> None:
        self.selection = resolve(model, selector)
        self.calls: list[Call] = []

    def __enter__(self) -> Tap:
        self.selection.attention.attached.watchers.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.watchers.remove(self)

    @property
    def role(self) -> str:
        """What the attention at its site does: self, cross, pooling."""
        return self.selection.attention.role

    def see(self, call: Call) -> None:
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
        """The weights that the forward pass took: what a normalizer has drawn, if it draws.

        `(tap.used() * tap.log_weights()).sum(-1)` is then the log probability of what was drawn.
        """
        attention = self.selection.attention
        used = [attention.maps(c) if c.used is None else c.used for c in self.calls]
        return self._joined([self.selection.pick(w) for w in used])

    def _joined(self, maps: list[Tensor]) -> Tensor:
        if not maps:
            raise RuntimeError(f"nothing passed {self.selection.attention.site} while tapped")
        return torch.cat(maps, dim=2) if len(maps) > 1 else maps[0]
