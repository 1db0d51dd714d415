"""How logits become weights."""

from __future__ import annotations

import math

import torch
from entmax import entmax15, entmax_bisect, sparsemax
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.parts import Normalizer, Past, Shape


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
            return torch.log_softmax(lower, dim=-1)
        sink = extra.to(logits)[:, None, None].expand(*logits.shape[:-1], 1)
        both = torch.log_softmax(torch.cat([lower, sink], dim=-1), dim=-1)
        return both[..., :-1]


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
        return nn.functional.logsigmoid(biased)

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


class _Sparse(Normalizer):
    """Projects rows after forbidden keys were moved out of reach; gradients are exact."""

    def forward(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        if allowed is None:
            return self.project(logits)
        weights = self.project(_out_of_reach(logits, allowed))
        return weights.masked_fill(~allowed, 0)

    def project(self, logits: Tensor) -> Tensor:
        raise NotImplementedError


class Sparsemax(_Sparse):
    """The point of the simplex nearest to the logits (Martins, Astudillo 2016, "From Softmax to
    Sparsemax")."""

    def project(self, logits: Tensor) -> Tensor:
        return sparsemax(logits, dim=-1)


class Entmax(_Sparse):
    """alpha 1 is softmax, 2 sparsemax (Peters, Niculae, Martins 2019, "Sparse
    Sequence-to-Sequence Models")."""

    def __init__(self, shape: Shape, *, alpha: float) -> None:
        super().__init__(shape)
        self.alpha = alpha

    def project(self, logits: Tensor) -> Tensor:
        if self.alpha == 1.5:
            return entmax15(logits, dim=-1)
        if self.alpha == 2:
            return sparsemax(logits, dim=-1)
        return entmax_bisect(logits, alpha=self.alpha, dim=-1)


class LearnedEntmax(_Sparse):
    """An alpha between 1 and 2 for each map, learned (Correia, Niculae, Martins 2019, "Adaptively
    Sparse Transformers")."""

    def __init__(self, shape: Shape, *, initial: float) -> None:
        super().__init__(shape)
        raw = math.log((initial - 1) / (2 - initial))
        self.raw_alpha = nn.Parameter(torch.full((shape.maps, 1, 1), raw))

    @property
    def alpha(self) -> Tensor:
        """maps x 1 x 1."""
        return 1 + self.raw_alpha.sigmoid()

    def project(self, logits: Tensor) -> Tensor:
        alpha = self.alpha.to(logits.dtype)[None]
        return entmax_bisect(logits, alpha=alpha, dim=-1)  # pyright: ignore[reportArgumentType]


def _out_of_reach(logits: Tensor, allowed: Tensor) -> Tensor:
    """Forbidden keys far below the best allowed one, yet finite: sums over them stay exact."""
    lowest = torch.finfo(logits.dtype).min
    best = logits.detach().masked_fill(~allowed, lowest).amax(-1, keepdim=True)
    best = best.masked_fill(best == lowest, 0)
    return torch.where(allowed, logits, best - 1e4)


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
    """One key: sampled in training, the best one otherwise.

    Log-weights are those of the sampled distribution, so that a loss on the map trains it.
    """

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
        return torch.log_softmax(lower, dim=-1)


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


class Monotonic(Normalizer):
    """Going on from where the last query stopped, stop at key j with chance p_j = sigmoid(s_j)
    (Raffel et al. 2017, "Online and Linear-Time Attention by Enforcing Monotonic Alignments").

    weights_j = p_j sum_{l <= j} previous_l prod_{l <= m < j} (1 - p_m). The products are
    exp of differences of sums of logarithms, a keys x keys matrix for each query: exact where the
    usual quotient of cumulative products underflows. A query may stop nowhere, so that rows can
    sum to less than one.
    """

    def __init__(self, shape: Shape, *, noise: float, bias: float) -> None:
        super().__init__(shape)
        self.noise = noise
        self.bias = nn.Parameter(torch.full((shape.maps, 1, 1), bias))

    def step(self, logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
        biased = logits + self.bias.to(logits.dtype)  # batch x maps x 1 x keys
        if self.training and self.noise:
            biased = biased + self.noise * torch.randn_like(biased)
        stop, go_on = biased.sigmoid(), F.logsigmoid(-biased)
        if allowed is not None:
            stop, go_on = stop.masked_fill(~allowed, 0), go_on.masked_fill(~allowed, 0)
        before = go_on.cumsum(-1) - go_on  # log of the chance to pass all keys before this
        passed = before.unsqueeze(-2) - before.unsqueeze(-1)  # b x maps x 1 x from x to
        forward = torch.ones_like(passed, dtype=torch.bool).triu()
        passed = passed.masked_fill(~forward, float("-inf")).exp()
        arrived = (_previous(logits, allowed, past).unsqueeze(-2) @ passed).squeeze(-2)
        return stop * arrived


def _previous(logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
    """Where the last query stopped; before the first, at the first key there is."""
    if past.steps:
        return past.previous.unsqueeze(2).to(logits.dtype)
    first = torch.zeros_like(logits)
    if allowed is None:
        first[..., 0] = 1
        return first
    index = allowed.expand(logits.shape).int().argmax(-1, keepdim=True)
    return first.scatter(-1, index, 1.0)
