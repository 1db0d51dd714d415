"""Ranked items: hit rate, NDCG and reciprocal rank of the one right item."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnlab.metrics.intervals import Values
from attnlab.metrics.pooled import PooledMetric, ratio


class Recommendation(PooledMetric):
    """HR@k and NDCG@k for each k, and MRR over all items; one right item for an example.

    Ranks are among all items, not among sampled negatives, which order systems otherwise
    (Krichene & Rendle 2020). Items to leave out (already bought) come with a score of -inf. Items
    with the same score share their ranks: each figure is its expectation over their orders, so
    that constant scores earn what chance earns, not a perfect rank.
    """

    def __init__(self, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self.cutoffs = tuple(cutoffs)
        names = [f"{name}@{k}" for k in self.cutoffs for name in ("hr", "ndcg")]
        self.figures = (*names, "mrr")

    def update(self, scores: Tensor, answers: Tensor) -> None:
        """Scores are batch x items, answers (the right item's index) are batch."""
        own = scores.gather(-1, answers[:, None])  # batch x 1
        above = (scores > own).sum(-1)  # batch: items surely before
        tied = (scores == own).sum(-1)  # batch: the right item and its ties
        ranks = torch.arange(1, scores.shape[-1] + 1, dtype=torch.double, device=scores.device)
        gains = []
        for k in self.cutoffs:
            within = ranks <= k
            gains += [within.double(), within / (1 + ranks).log2()]
        gains.append(1 / ranks)
        expected = [expectation(gain, above, tied) for gain in gains]
        self.keep(torch.stack([*expected, torch.ones_like(expected[0])], dim=-1))

    def score(self, sums: Values) -> Values:
        return ratio(sums[..., :-1], sums[..., -1:])


def expectation(gain: Tensor, above: Tensor, tied: Tensor) -> Tensor:
    """The mean gain over the ranks above + 1 ... above + tied; `gain` is by rank, from 1."""
    sums = torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    return (sums[above + tied] - sums[above]) / tied
