"""`ChoiceTask`: answers that are choices, at one position or at many; and their loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.models.ensemble import combined
from attnlab.tasks.task import Prediction, Task, TaskSettings

NOT_COUNTED = -100  # a right choice that is none: its row costs nothing
PIECE = 1 << 18  # scores that a CPU works on at a time: a megabyte


def choice_loss(scores: Tensor, gold: Tensor, smoothing: float = 0.0) -> Tensor:
    """Each row's loss, in float32: scores rows x choices, gold rows; smoothing as in
    Szegedy et al. 2016, a share of the target that is spread over all choices.

    The scores of a vocabulary are the largest tensor of a small model. PyTorch's own loss makes
    several of their size on the way forward and back, with smoothed labels more; here they are
    read from memory once on each way, in pieces that stay in the cache, and their slope is the one
    tensor that is written.
    """
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
        gradient = torch.empty_like(scores, dtype=torch.float32)
        for rows in _pieces(scores):
            share = torch.sub(scores[rows], total[rows, None], out=gradient[rows]).exp_()
            if ctx.smoothing:
                share -= ctx.smoothing / scores.shape[1]
            share *= weight[rows]
        gradient.scatter_add_(1, right, (ctx.smoothing - 1) * weight)
        return gradient.to(scores.dtype), None, None


def _pieces(scores: Tensor) -> Iterator[slice]:
    """Rows that are worked on together: all of them where kernels are started one by one."""
    size = max(1, len(scores) if scores.is_cuda else PIECE // scores.shape[1])
    for start in range(0, len(scores), size):
        yield slice(start, start + size)


class ChoiceSettings(TaskSettings):
    """The settings of every task whose answers are choices."""

    label_smoothing: float


class ChoiceTask(Task):
    """The loss is the cross-entropy of the right choice; scores are batch x positions x choices."""

    def __init__(
        self, codec: Codec, *, label_smoothing: float, **shared: Unpack[TaskSettings]
    ) -> None:
        super().__init__(codec, **shared)
        self.label_smoothing = label_smoothing

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.cross_entropy(scores, self.gold(batch))

    def counts(self, batch: Batch) -> Tensor | None:
        return (self.gold(batch) != NOT_COUNTED).sum(1)

    def cross_entropy(self, scores: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        """Sums and counts of each example, for the right choices: batch x positions."""
        choices = scores.flatten(0, 1)  # of batch x positions x choices
        losses = choice_loss(choices, gold.flatten(), self.label_smoothing)
        return losses.view(gold.shape).sum(1), (gold != NOT_COUNTED).sum(1)

    def gold(self, batch: Batch) -> Tensor:
        """The right choice at each position."""
        gold, mask = batch.answer
        return gold.masked_fill(~mask, NOT_COUNTED)

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        return combined(outputs, how)

    def outcomes(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of all choices; -inf for what may not be chosen."""
        return model(batch)

    def evidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """Log odds, which do not saturate as a probability does."""
        chosen = decisions[..., None]
        others = outcomes.scatter(-1, chosen, -torch.inf).logsumexp(-1)
        return outcomes.gather(-1, chosen)[..., 0] - others

    def confidence(self, outcomes: Tensor, decisions: Tensor) -> Tensor:
        """The probability of each decision."""
        return outcomes.softmax(-1).gather(-1, decisions[..., None])[..., 0]

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """Total variation of the distributions over choices."""
        return (one.softmax(-1) - other.softmax(-1)).abs().sum(-1) / 2

    def differs(self, one: Tensor, other: Tensor) -> Tensor:
        return one.argmax(-1) != other.argmax(-1)


def best_choices(
    scores: Tensor, maps: Tensor, most: int, name: Callable[[int], str]
) -> list[list[Prediction]]:
    """The best choices of each row of scores (batch x choices) with their probabilities.

    Maps are batch x rows x keys. A choice with a score of -inf is never made.
    """
    probabilities = scores.float().softmax(-1)
    best, numbers = probabilities.topk(min(most, probabilities.shape[1]))
    allowed = scores.isfinite().sum(1).clamp_max(most).tolist()
    rows: Sequence[tuple[list[int], list[float], int, Tensor]] = list(
        zip(numbers.tolist(), best.tolist(), allowed, maps, strict=True)
    )
    return [
        [Prediction(name(i), p, map_) for i, p in zip(which[:n], chances[:n], strict=True)]
        for which, chances, n, map_ in rows
    ]
