"""`Intervention`: another map in the place of the model's own."""

from __future__ import annotations

from torch import Tensor, nn

from attnlab.attention.mechanism import Transform
from attnlab.attention.probes.selectors import resolve


class Intervention:
    """While open, the context at one site is made of transformed weights.

    `transform(weights, allowed)` gets batch x chosen heads x queries x keys and where they may be
    other than zero (None: everywhere), and returns weights of the same shape.
    """

    def __init__(self, model: nn.Module, selector: str, transform: Transform) -> None:
        self.selection = resolve(model, selector)
        self.transform = transform

    def __enter__(self) -> Intervention:
        self.selection.attention.attached.transforms.append(self._changed)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.transforms.remove(self._changed)

    def _changed(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        heads = self.selection.heads
        if heads is None:
            return self.transform(weights, allowed)
        chosen = list(heads)
        if allowed is not None and allowed.shape[1] > 1:
            allowed = allowed[:, chosen]
        changed = weights.clone()
        changed[:, chosen] = self.transform(weights[:, chosen], allowed)
        return changed
