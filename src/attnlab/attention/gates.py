"""HardKuma: a gate for each key, sampled open, shut or in between."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.parts import Normalizer, Shape

SMALLEST, LARGEST = 1e-2, 1e2  # of the distribution's two shapes, so that no power overflows
REACH = 2.5  # largest logit that is sampled from: one gate in ninety opens against it


class HardKuma(Normalizer):
    """Each key has a gate z from a Kumaraswamy distribution, stretched beyond [0, 1] and cut off
    there, so that z is exactly 0 or 1 with some chance and still has a gradient (Bastings, Aziz,
    Titov 2019, "Interpretable Neural Predictions with Differentiable Binary Variables").

    A logit s gives the shapes softplus(s) and softplus(-s): a high one opens the gate. Weights are
    the gates, divided by their sum; a row whose gates are all shut is zero. In evaluation a gate
    is shut, open or its mean, whichever is likeliest. Log weights are those of P(z > 0), as shares.
    """

    samples = True

    def __init__(self, shape: Shape, *, stretch: float) -> None:
        super().__init__(shape)
        self.stretch = stretch

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        if not self.training:
            return self.expected(logits, allowed)
        a, b = _shapes(clamped(logits, REACH))
        uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        sample = (1 - (1 - uniform) ** (1 / b)) ** (1 / a)
        return _shares(self._stretched(sample), allowed)

    def expected(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        a, b = _shapes(logits)
        shut = 1 - self._chance_above(0, a, b)
        wide_open = self._chance_above(1, a, b)
        between = 1 - shut - wide_open
        gates = self._stretched(_mean(a, b))
        gates = torch.where((wide_open > between) & (wide_open > shut), 1.0, gates)
        gates = torch.where((shut > between) & (shut >= wide_open), 0.0, gates)
        return _shares(gates, allowed)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        a, b = _shapes(logits)
        chance = b * torch.log1p(-(self._unstretched(0) ** a))  # log P(z > 0)
        if allowed is not None:
            chance = chance.masked_fill(~allowed, torch.finfo(chance.dtype).min / 4)
        return torch.log_softmax(chance, dim=-1)

    def _stretched(self, sample: Tensor) -> Tensor:
        return (sample * (1 + 2 * self.stretch) - self.stretch).clamp(0, 1)

    def _unstretched(self, gate: float) -> float:
        """Where a gate lies before it is stretched."""
        return (gate + self.stretch) / (1 + 2 * self.stretch)

    def _chance_above(self, gate: float, a: Tensor, b: Tensor) -> Tensor:
        return (1 - self._unstretched(gate) ** a) ** b


def clamped(logits: Tensor, reach: float) -> Tensor:
    """Logits within reach, with the gradient of those that are beyond.

    A gate that is shut for good has no gradient, and once all are nothing is learned any more.
    """
    return logits + (logits.clamp(-reach, reach) - logits).detach()


def _shapes(logits: Tensor) -> tuple[Tensor, Tensor]:
    a, b = F.softplus(logits), F.softplus(-logits)
    return a.clamp(SMALLEST, LARGEST), b.clamp(SMALLEST, LARGEST)


def _mean(a: Tensor, b: Tensor) -> Tensor:
    """Of a Kumaraswamy variable: b B(1 + 1/a, b)."""
    whole = 1 + 1 / a
    return (b.log() + whole.lgamma() + b.lgamma() - (whole + b).lgamma()).exp()


def _shares(gates: Tensor, allowed: Tensor | None) -> Tensor:
    gates = gates if allowed is None else gates.masked_fill(~allowed, 0)
    return gates / gates.sum(-1, keepdim=True).clamp_min(1e-6)
