"""Normalizers that give every key some weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnlab.attention.parts import Normalizer, Shape


class Softmax(Normalizer):
    """exp(s) / sum exp(s)."""

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        extra = self.extra_logit()
        lower = logits if allowed is None else mask_logits(logits, allowed)
        if extra is not None:
            sink = extra.to(logits)[:, None, None].expand(*logits.shape[:-1], 1)
            weights = torch.softmax(torch.cat([lower, sink], dim=-1), dim=-1)[..., :-1]
        else:
            weights = torch.softmax(lower, dim=-1)
        return weights if allowed is None else weights.masked_fill(~allowed, 0)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        lower = logits if allowed is None else mask_logits(logits, allowed)
        extra = self.extra_logit()
        if extra is None:
            return mask_log_weights(torch.log_softmax(lower, dim=-1), allowed)
        sink = extra.to(logits)[:, None, None].expand(*logits.shape[:-1], 1)
        both = torch.log_softmax(torch.cat([lower, sink], dim=-1), dim=-1)
        return mask_log_weights(both[..., :-1], allowed)


class OffByOne(Softmax):
    """exp(s) / (1 + sum exp(s)) (Miller 2023, "Attention Is Off By One")."""

    def extra_logit(self) -> Tensor:
        return torch.zeros(1)


class Sink(Softmax):
    """exp(s) / (exp(c) + sum exp(s)), c learned for each map (Xiao et al. 2024, "Efficient
    Streaming Language Models with Attention Sinks")."""

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        self.logit = nn.Parameter(torch.full((shape.maps,), initial))

    def extra_logit(self) -> Tensor:
        return self.logit


class Sigmoid(Normalizer):
    """sigmoid(s + b), each key on its own (Ramapuram et al. 2024, "Theory, Analysis, and Best
    Practices for Sigmoid Self-Attention"). Rows do not sum to one."""

    def __init__(self, shape: Shape, *, bias: float | None) -> None:
        super().__init__(shape)
        self.bias = bias

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        weights = torch.sigmoid(self._biased(logits, allowed))
        return weights if allowed is None else weights.masked_fill(~allowed, 0)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        biased = self._biased(logits, allowed)
        return mask_log_weights(nn.functional.logsigmoid(biased), allowed)

    def _biased(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        if self.bias is not None:
            return logits + self.bias
        if allowed is None:
            return logits - math.log(logits.shape[-1])
        keys = allowed.expand(logits.shape).sum(-1, keepdim=True).clamp_min(1)  # padding is no key
        return logits - keys.to(logits.dtype).log()


class Proportion(Normalizer):
    """s / sum s, for scores that are never negative (Katharopoulos et al. 2020)."""

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        kept = logits if allowed is None else logits.masked_fill(~allowed, 0)
        total = kept.sum(-1, keepdim=True)
        return kept / total.masked_fill(total == 0, 1)


def mask_logits(logits: Tensor, allowed: Tensor) -> Tensor:
    """Forbidden keys get a logit too low for any softmax, yet finite so that no gradient is NaN."""
    return logits.masked_fill(~allowed, torch.finfo(logits.dtype).min / 4)


def mask_log_weights(log_weights: Tensor, allowed: Tensor | None) -> Tensor:
    """Forbidden keys get the logarithm of the smallest number (as `safe_log`), and no gradient."""
    if allowed is None:
        return log_weights
    floor = math.log(torch.finfo(log_weights.dtype).tiny)
    return log_weights.masked_fill(~allowed, floor)
