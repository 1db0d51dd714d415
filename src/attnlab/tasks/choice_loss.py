"""The cross-entropy of right choices among many, with the scores read as seldom as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import c_float, c_long
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from attnlab.attention.kernels import native
from attnlab.models.units import LaterScores, Scores

NOT_COUNTED = -100  # a right choice that is none: its row costs nothing
PIECE = 1 << 18  # scores that a CPU works on at a time: a megabyte


def choice_loss(scores: Scores, gold: Tensor, smoothing: float = 0.0) -> Tensor:
    """Each row's loss, in float32: scores rows x choices, gold rows; smoothing as in
    Szegedy et al. 2016, a share of the target that is spread over all choices.

    The scores of a vocabulary are the largest tensor of a small model. PyTorch's own loss makes
    several of their size on the way forward and back, with smoothed labels more; here they are
    read from memory once on each way, by a C kernel or in pieces that stay in the cache, and their
    slope is the one tensor that is written. `LaterScores` are computed here, piece by piece, and
    each piece once more on the way back.
    """
    if not isinstance(scores, LaterScores):
        return _ChoiceLoss.apply(scores, gold, smoothing)  # type: ignore[no-any-return]

    def of_piece(states: Tensor, gold: Tensor) -> Tensor:
        return _ChoiceLoss.apply(scores.of(states), gold, smoothing)  # type: ignore[no-any-return]

    loss: Callable[[Tensor, Tensor], Tensor] = of_piece
    if torch.is_grad_enabled():
        loss = partial(checkpoint, of_piece, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([loss(scores.states[rows], gold[rows]) for rows in scores.pieces()])


class _ChoiceLoss(torch.autograd.Function):
    """log sum exp - (1 - s) gold's score - s mean score, whose slope is
    softmax - (1 - s) [gold] - s / choices."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, gold: Tensor, smoothing: float) -> Tensor:
        counted = gold != NOT_COUNTED
        right = gold.masked_fill(~counted, 0)[:, None]  # rows x 1
        aimed_at = (1 - smoothing) * scores.gather(1, right)[:, 0].float()
        total, mean = (_compiled_sums if _has_kernel(scores) else _sums)(scores)
        if smoothing:  # else a score of -inf would count, 0 times
            aimed_at += smoothing * mean
        ctx.save_for_backward(scores, right, counted, total)
        ctx.smoothing = smoothing
        return (total - aimed_at).masked_fill_(~counted, 0)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *slopes: Tensor
    ) -> tuple[Tensor, None, None]:
        (slope,) = slopes  # rows
        scores, right, counted, total = ctx.saved_tensors
        weight = slope.masked_fill(~counted, 0)[:, None]  # rows x 1
        spread = ctx.smoothing / scores.shape[1]
        slopes_of = _compiled_slopes if _has_kernel(scores) else _slopes
        gradient = slopes_of(scores, total, weight, spread)
        gradient.scatter_add_(1, right, (ctx.smoothing - 1) * weight)
        return gradient.to(scores.dtype), None, None


def _has_kernel(scores: Tensor) -> bool:
    """Whether the C kernel can serve it, and there are scores enough to load it."""
    plain = scores.device.type == "cpu" and scores.dtype == torch.float32
    plain = plain and scores.is_contiguous()  # else it would be copied
    return plain and scores.numel() > PIECE and native.library() is not None


def _compiled_sums(scores: Tensor) -> tuple[Tensor, Tensor]:
    """As `_sums`, by the C kernel."""
    scores = scores.contiguous()
    top, powers, sums = scores.new_empty(3, len(scores))
    to = [native.pointer(each) for each in (top, powers, sums)]
    _over_rows("choice_sums", scores, *to)
    return (top + powers.log()).masked_fill_(sums.isnan(), torch.nan), sums / scores.shape[1]


def _compiled_slopes(scores: Tensor, total: Tensor, weight: Tensor, spread: float) -> Tensor:
    """As `_slopes`, by the C kernel."""
    scores, weight = scores.contiguous(), weight.contiguous()
    gradient = torch.empty_like(scores)
    rows = native.pointer(total), native.pointer(weight)
    _over_rows("choice_slopes", scores, *rows, c_float(spread), native.pointer(gradient))
    return gradient


def _over_rows(name: str, scores: Tensor, *rest: Any) -> None:
    """Call a function of the C kernel for all rows, which threads share."""
    function, choices = native.function(name, scores.dtype), c_long(scores.shape[1])
    address = native.pointer(scores)
    cuts = native.split_work(len(scores), 1, scores.numel())
    tasks = [
        partial(function, address, choices, c_long(first), c_long(last), *rest)
        for first, last, *_ in cuts
    ]
    native.run_all(tasks)


def _sums(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of each row's sum of exponentials, and its mean score, in float32."""
    total, mean = scores.new_empty(2, len(scores), dtype=torch.float32)
    for rows in _pieces(scores):
        piece = scores[rows].float()
        torch.logsumexp(piece, 1, out=total[rows])
        torch.mean(piece, 1, out=mean[rows])
    return total, mean


def _slopes(scores: Tensor, total: Tensor, weight: Tensor, spread: float) -> Tensor:
    """rows x choices: the row's weight times the probability of the choice less `spread`."""
    gradient = torch.empty_like(scores, dtype=torch.float32)
    for rows in _pieces(scores):
        share = torch.sub(scores[rows], total[rows, None], out=gradient[rows]).exp_()
        if spread:
            share -= spread
        share *= weight[rows]
    return gradient


def _pieces(scores: Tensor) -> Iterator[slice]:
    """Rows that are worked on together: all of them where kernels are started one by one."""
    size = max(1, len(scores) if scores.is_cuda else PIECE // scores.shape[1])
    for start in range(0, len(scores), size):
        yield slice(start, start + size)
