"""The loss of choices among many, in pieces that stay in the cache.

The scores of a vocabulary are the largest tensor of a small model. PyTorch's own loss makes
several of their size on the way forward and back, with smoothed labels more; here they are read
from memory once on each way, and their slope is the one tensor that is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NOT_COUNTED = -100  # a right choice that is none: its row costs nothing
PIECE = 1 << 18  # scores that a CPU works on at a time: a megabyte


def choice_loss(scores: Tensor, gold: Tensor, smoothing: float = 0.0) -> Tensor:
    """Each row's loss, in float32: scores rows x choices, gold rows; smoothing as in
    Szegedy et al. 2016, a share of the target that is spread over all choices."""
    return _ChoiceLoss.apply(scores, gold, smoothing)  # type: ignore[no-any-return]


class _ChoiceLoss(torch.autograd.Function):
    """log sum exp - (1 - s) gold's score - s mean score, whose slope is
    softmax - (1 - s) [gold] - s / choices."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, gold: Tensor, smoothing: float) -> Tensor:
        counted = gold != NOT_COUNTED
        right = gold.masked_fill(~counted, 0)[:, None]  # rows x 1
        total = scores.new_empty(len(scores), dtype=torch.float32)  # log sum exp
        aimed_at = (1 - smoothing) * scores.gather(1, right)[:, 0].float()
        for rows in _pieces(scores):
            piece = scores[rows].float()
            torch.logsumexp(piece, 1, out=total[rows])
            if smoothing:  # else a score of -inf would count, 0 times
                aimed_at[rows] += smoothing * piece.mean(1)
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
        found = torch.empty_like(scores, dtype=torch.float32)
        for rows in _pieces(scores):
            share = torch.sub(scores[rows], total[rows, None], out=found[rows]).exp_()
            if ctx.smoothing:
                share -= ctx.smoothing / scores.shape[1]
            share *= weight[rows]
        found.scatter_add_(1, right, (ctx.smoothing - 1) * weight)
        return found.to(scores.dtype), None, None


def _pieces(scores: Tensor) -> Iterator[slice]:
    """Rows that are worked on together: all of them where kernels are started one by one."""
    size = max(1, len(scores) if scores.is_cuda else PIECE // scores.shape[1])
    for start in range(0, len(scores), size):
        yield slice(start, start + size)
