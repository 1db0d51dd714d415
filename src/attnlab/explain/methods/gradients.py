"""How the answer answers to small changes of the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from attnlab.explain.subject import Subject


def gradient_input(subject: Subject) -> Tensor:
    """Gradient times the difference to the empty input (Shrikumar et al. 2016).

    batch x queries x keys.
    """
    change = subject.embedded.values - subject.blank
    return _along(subject, subject.embedded.values, change)


def integrated_gradients(subject: Subject, steps: int) -> Tensor:
    """The same, as a mean over the way from the empty input (Sundararajan et al. 2017).

    Midpoint rule. Over all units the scores sum to the log odds less those of the empty input.
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
            # Only the unit's own decision counts: examples do not see each other.
            (torch.autograd.grad(each.sum(), values, retain_graph=True)[0] * change).sum(-1)
            for each in evidence.unbind(1)
        ]
    return torch.stack(slopes, 1)


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients are on; cuDNN's recurrent kernels have none outside training and stay off."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield
