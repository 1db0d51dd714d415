"""The maps that a forward pass works with, as part of its graph."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from attnlab.attention.mechanism import MapChange
from attnlab.attention.probes import Intervention
from attnlab.attention.probes.selectors import sites


class UsedMaps:
    """While open, every attention makes its context from weights that are kept here."""

    def __init__(self, model: nn.Module) -> None:
        self.parts: dict[str, list[Tensor]] = {}
        self.stack = ExitStack()
        self.model = model

    def __enter__(self) -> UsedMaps:
        for site in sites(self.model):
            self.stack.enter_context(Intervention(self.model, site, self._keeper(site)))
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def _keeper(self, site: str) -> MapChange:
        def keep(weights: Tensor, allowed: Tensor | None) -> Tensor:
            if torch.is_grad_enabled() and not weights.requires_grad:  # a map that is fixed
                weights = weights.detach().requires_grad_()
            self.parts.setdefault(site, []).append(weights)
            return weights

        return keep

    def maps(self) -> dict[str, Tensor]:
        """Site -> batch x heads x queries x keys; the steps of a decoder are its queries."""
        return {site: joined(parts) for site, parts in self.parts.items()}

    def slopes(self, output: Tensor) -> dict[str, Tensor]:
        """The gradient of `output` with regard to every map; zero where it does not matter."""
        places = [(site, part) for site, parts in self.parts.items() for part in parts]
        found = torch.autograd.grad(
            output, [part for _, part in places], retain_graph=True, allow_unused=True
        )
        slopes: dict[str, list[Tensor]] = {}
        for (site, part), slope in zip(places, found, strict=True):
            slopes.setdefault(site, []).append(torch.zeros_like(part) if slope is None else slope)
        return {site: joined(parts) for site, parts in slopes.items()}


def joined(parts: list[Tensor]) -> Tensor:
    """Calls of one site as one map; earlier steps of self-attention saw fewer keys."""
    if len(parts) == 1:
        return parts[0]
    keys = max(part.shape[-1] for part in parts)
    padded = [torch.nn.functional.pad(part, (0, keys - part.shape[-1])) for part in parts]
    return torch.cat(padded, dim=2)
