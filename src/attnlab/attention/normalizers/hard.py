"""Normalizers that select a few keys, or one.

`Gumbel` and `Reinforce` sample a key while training; in evaluation they take the best one. Their
log weights are those of the sampled distribution, so that a loss on the map trains it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.normalizers.soft import mask_log_weights, mask_logits
from attnlab.attention.parts import Normalizer, Shape


class TopK(Normalizer):
    """Softmax over the k best keys (Gupta et al. 2021, "Memory-efficient Transformers via
    Top-k Attention")."""

    def __init__(self, shape: Shape, *, keep: int) -> None:
        super().__init__(shape)
        self.keep = keep

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        lower = logits if allowed is None else mask_logits(logits, allowed)
        best = lower.topk(min(self.keep, lower.shape[-1]), dim=-1)
        weights = torch.zeros_like(lower).scatter(-1, best.indices, best.values.softmax(-1))
        return weights if allowed is None else weights.masked_fill(~allowed, 0)


class _OneKey(Normalizer):
    """One key: sampled in training, the best one otherwise."""

    samples = True

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        if not self.training:
            return self.expected(logits, allowed)
        sampled = self.sample(logits if allowed is None else mask_logits(logits, allowed))
        return sampled if allowed is None else sampled.masked_fill(~allowed, 0)

    def sample(self, logits: Tensor) -> Tensor:
        """One-hot rows."""
        raise NotImplementedError

    def expected(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        lower = logits if allowed is None else mask_logits(logits, allowed)
        best = _one_hot(lower.argmax(-1), lower)
        return best if allowed is None else best.masked_fill(~allowed, 0)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        lower = logits if allowed is None else mask_logits(logits, allowed)
        return mask_log_weights(torch.log_softmax(lower, dim=-1), allowed)


class Gumbel(_OneKey):
    """The key of the largest logit plus Gumbel noise, with the gradient of a softmax (Jang, Gu,
    Poole 2017, "Categorical Reparameterization with Gumbel-Softmax")."""

    def __init__(self, shape: Shape, *, temperature: float) -> None:
        super().__init__(shape)
        self.temperature = temperature

    def sample(self, logits: Tensor) -> Tensor:
        return F.gumbel_softmax(logits, tau=self.temperature, hard=True, dim=-1)


class Reinforce(_OneKey):
    """A key sampled from the softmax, without a gradient: the term `reinforce` of the loss
    trains it (Xu et al. 2015, "Show, Attend and Tell"; Williams 1992)."""

    needs_reward = True

    def sample(self, logits: Tensor) -> Tensor:
        chances = logits.detach().softmax(-1)
        sampled = torch.multinomial(chances.flatten(0, -2), 1).view(chances.shape[:-1])
        return _one_hot(sampled, logits)


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    return F.one_hot(index, like.shape[-1]).to(like.dtype)
