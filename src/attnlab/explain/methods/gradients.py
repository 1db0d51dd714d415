"""Gradients of decisions, with regard to the input and to the maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from attnlab.attention.mechanism import MapChange
from attnlab.attention.taps import Intervention, sites
from attnlab.explain.subject import Subject


def gradient_input(subject: Subject) -> Tensor:
    """Gradient times the difference to the empty input (Shrikumar et al. 2016).

    batch x queries x keys.
    """
    change = subject.embedded.values - subject.blank
    return _along(subject, subject.embedded.values, change)


def integrated_gradients(subject: Subject, steps: int) -> Tensor:
    """The same as a mean over the path from the empty input (Sundararajan et al. 2017).

    Midpoint rule: the scores of all units sum to the log odds less those of the empty input.
    batch x queries x keys.
    """
    change = subject.embedded.values - subject.blank
    total = torch.zeros_like(subject.cells, dtype=change.dtype)
    for step in range(steps):
        total += _along(subject, subject.blank + (step + 0.5) / steps * change, change)
    return total / steps


def _along(subject: Subject, values: Tensor, change: Tensor) -> Tensor:
    """The slope of every decision at `values`, unit by unit in the direction of `change`."""
    values = values.detach().requires_grad_()
    with differentiable():
        evidence = subject.evidence(values)  # batch x queries
        slopes = [
            # Examples do not see each other: the gradient of the sum is that of each.
            (torch.autograd.grad(each.sum(), values, retain_graph=True)[0] * change).sum(-1)
            for each in evidence.unbind(1)
        ]
    return torch.stack(slopes, 1)


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients on; cuDNN off, whose recurrent kernels have none outside training."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield


class DifferentiableMaps:
    """While open, keeps the weights of every attention as part of the graph."""

    def __init__(self, model: nn.Module) -> None:
        self.parts: dict[str, list[Tensor]] = {}
        self.stack = ExitStack()
        self.model = model

    def __enter__(self) -> DifferentiableMaps:
        for site in sites(self.model):
            self.stack.enter_context(Intervention(self.model, site, self._keeper(site)))
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def _keeper(self, site: str) -> MapChange:
        def keep(weights: Tensor, allowed: Tensor | None) -> Tensor:
            if torch.is_grad_enabled() and not weights.requires_grad:  # a fixed map
                weights = weights.detach().requires_grad_()
            self.parts.setdefault(site, []).append(weights)
            return weights

        return keep

    def maps(self) -> dict[str, Tensor]:
        """Site -> batch x heads x queries x keys; the steps of a decoder are its queries."""
        return {site: joined(parts) for site, parts in self.parts.items()}

    def slopes(self, output: Tensor) -> dict[str, Tensor]:
        """The gradient of `output` with regard to every map; zero where there is none."""
        calls = [(site, part) for site, parts in self.parts.items() for part in parts]
        gradients = torch.autograd.grad(
            output, [part for _, part in calls], retain_graph=True, allow_unused=True
        )
        slopes: dict[str, list[Tensor]] = {}
        for (site, part), slope in zip(calls, gradients, strict=True):
            slopes.setdefault(site, []).append(torch.zeros_like(part) if slope is None else slope)
        return {site: joined(parts) for site, parts in slopes.items()}


def joined(parts: list[Tensor]) -> Tensor:
    """Calls of one site as one map; earlier steps of self-attention have fewer keys."""
    if len(parts) == 1:
        return parts[0]
    keys = max(part.shape[-1] for part in parts)
    padded = [pad(part, (0, keys - part.shape[-1])) for part in parts]
    return torch.cat(padded, dim=2)
