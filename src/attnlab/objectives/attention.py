"""Terms that compare a map with a gold map.

All take log-weights (never weights: a softmax over a softmax cannot get sharp, and the log of a
rounded probability diverges in half precision) and are means over annotated rows, so that
neither padding nor unannotated rows dilute them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.tensors import entropy
from attnlab.data.batch import Batch
from attnlab.data.target_batch import TargetBatch
from attnlab.objectives.terms import StepView, Term, TermLoss

MASKED = -1e4  # log-weights below this are those of masked keys, however the mechanism marks them


class MapTerm(Term):
    """A loss on the log-weights of one site: the mean over heads and counted rows.

    Each head that the selector `site` picks is trained towards the same map: gold, or the
    teacher's where there is one.
    """

    share_power = 0.0  # a batch of which few rows count does so itself: see `divisor`

    def __init__(self, *, site: str) -> None:
        super().__init__()
        self.site = site

    def sites(self) -> Sequence[str]:
        return (self.site,)

    def count(self, batch: Batch, task: Any) -> Tensor:
        return self._counts(batch.target)

    def divisor(self, count: Tensor) -> Tensor:
        """N of the mean over N rows, of M, times (M / N) to the power `share_power`."""
        counted, rows = count
        return counted ** (1 - self.share_power) * rows**self.share_power

    def forward(self, view: StepView) -> TermLoss:
        target = view.target(self.site)
        loss = self.compare(view.log_map(self.site), target)
        return replace(loss, count=self._counts(target))

    def _counts(self, target: TargetBatch) -> Tensor:
        """The rows that count, and all there are."""
        return torch.stack([self.rows(target).sum(), target.row_mask.sum()]).float()

    def compare(self, log_weights: Tensor, target: TargetBatch) -> TermLoss:
        """The loss of a map beside a gold map, summed over counted rows.

        Args:
            log_weights: batch x heads x queries x keys; masked keys hold -inf or nearly so.
            target: the gold maps of the same rows and keys.

        Returns:
            The sum, weighted by example, and the number of counted rows. Its figures are `kl`
            (cross-entropy less the gold's entropy in nats; 0 is a perfect map) and `unreachable`
            (the share of gold mass on keys that the mechanism's mask forbids).
        """
        precise = torch.promote_types(log_weights.dtype, torch.float32)
        log_weights = as_shares(log_weights.to(precise))  # batch x heads x queries x keys
        rows = self.rows(target)  # batch x queries
        with torch.autocast(log_weights.device.type, enabled=False):
            losses = self.per_row(log_weights, target).mean(1)  # batch x queries
            total = (losses * rows * target.weight[:, None]).sum()
            figures = _divergence(log_weights.detach(), target)
        return TermLoss(total, rows.sum(), figures)

    def rows(self, target: TargetBatch) -> Tensor:
        """Which rows count: batch x queries, bool."""
        return target.rows()

    @abstractmethod
    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        """The loss of every row, finite in all of them: batch x heads x queries."""


class CrossEntropy(MapTerm):
    """L = -(1/N) sum_ij t_ij log p_ij with N annotated rows (Mi et al. 2016; Liu et al. 2016)."""

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        return cross_entropy(log_weights, reachable_gold(log_weights, target))


class KL(MapTerm):
    """L - H(t): the gradient of cross-entropy, but 0 for a perfect map."""

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        gold = reachable_gold(log_weights, target)  # batch x heads x queries x keys
        return cross_entropy(log_weights, gold) - entropy(gold)


class MSE(MapTerm):
    """Squared difference summed over the keys (Liu et al. 2016; teacher maps: Jiao et al. 2020).

    Summed, not averaged: the mean over keys would shrink the loss as sequences grow.
    """

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        gold = reachable_gold(log_weights, target)
        return (log_weights.exp() - gold).square().sum(-1)


class SoftIoU(MapTerm):
    """1 - sum min(p, t) / sum max(p, t), the weighted Jaccard distance: 0 only where p = t."""

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        weights, gold = log_weights.exp(), reachable_gold(log_weights, target)
        overlap = torch.minimum(weights, gold).sum(-1)  # batch x heads x queries
        return 1 - overlap / torch.maximum(weights, gold).sum(-1).clamp_min(1e-9)


class SurePossible(MapTerm):
    """Cross-entropy to the sure links beside -log of the mass on sure and possible links.

    A row with possible links alone asks only that the mass stays among them.
    """

    def __init__(self, *, sure: float, site: str) -> None:
        super().__init__(site=site)
        self.sure = sure

    def rows(self, target: TargetBatch) -> Tensor:
        return target.query_mask & target.marks().any(-1)

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        allowed = target.marks()[:, None] & (log_weights > MASKED)  # batch x heads x queries x keys
        some = allowed.any(-1, keepdim=True)
        # Rows without any allowed key get a harmless entry, so that no gradient is NaN.
        inside = torch.where(allowed, log_weights, -torch.inf).where(some, 0.0)
        outside = -torch.where(some.squeeze(-1), inside.logsumexp(-1), 0.0)
        sure = cross_entropy(log_weights, reachable_gold(log_weights, target))
        return self.sure * sure + (1 - self.sure) * outside


class Distillation(MapTerm):
    """KL from a teacher's map at a temperature T, times T^2 (Hinton et al. 2015).

    The teacher's map comes as the target. At T = 1 this is `KL`, the self-attention transfer of
    MiniLM (Wang et al. 2020).
    """

    def __init__(self, *, temperature: float, site: str) -> None:
        super().__init__(site=site)
        self.temperature = temperature

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        gold = reachable_gold(log_weights, target)
        softened = gold.pow(1 / self.temperature)
        softened = softened / softened.sum(-1, keepdim=True).clamp_min(1e-30)
        finite = log_weights.clamp_min(MASKED * self.temperature)
        tempered = (finite / self.temperature).log_softmax(-1)
        divergence = cross_entropy(tempered, softened) - entropy(softened)
        return divergence * self.temperature**2


class Transfer(MapTerm):
    """||p / ||p|| - t / ||t||||, by Euclidean lengths (Zagoruyko & Komodakis 2017).

    Both maps at length one: what counts is where a map is strong, not how its mass is shared out.
    """

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        gold = F.normalize(reachable_gold(log_weights, target), dim=-1)
        apart = F.normalize(log_weights.exp(), dim=-1) - gold
        return apart.square().sum(-1).clamp_min(1e-12).sqrt()  # whose gradient at 0 is finite


class Relations(MapTerm):
    """KL between the relations of the rows: which rows attend to the same keys.

    The relation of rows i and j is the Bhattacharyya coefficient sum_k sqrt(p_ik p_jk), made a
    distribution over j by a softmax (relational distillation, Park et al. 2019; the softmax of
    scaled products is MiniLM's, Wang et al. 2020). It leaves free which keys the rows attend to.
    """

    def __init__(self, *, temperature: float, site: str) -> None:
        super().__init__(site=site)
        self.temperature = temperature

    def per_row(self, log_weights: Tensor, target: TargetBatch) -> Tensor:
        rows = target.rows()[:, None, None, :]  # batch x 1 x 1 x queries
        student = self._relations((log_weights / 2).exp(), rows)
        teacher = self._relations(reachable_gold(log_weights, target).sqrt(), rows)
        return (teacher.exp() * (teacher - student)).masked_fill(~rows, 0.0).sum(-1)

    def _relations(self, roots: Tensor, rows: Tensor) -> Tensor:
        """Log-softmax of row likeness over counted rows: batch x heads x queries x queries."""
        alike = roots @ roots.transpose(-1, -2) / self.temperature
        return alike.masked_fill(~rows, MASKED).log_softmax(-1)


def as_shares(log_weights: Tensor) -> Tensor:
    """Rows of gates that sum to more than one, as shares of their sum; other rows as they are.

    Else -sum t log p would be least where every gate stands open, whatever gold says.
    """
    total = log_weights.clamp_min(MASKED).logsumexp(-1, keepdim=True)
    return log_weights - total.clamp_min(0.0)


def reachable_gold(log_weights: Tensor, target: TargetBatch) -> Tensor:
    """The gold distribution over those keys that the mask allows: batch x heads x queries x keys.

    Gold on a forbidden key (the future under a causal mask, say) can only give an infinite loss;
    it is left out here and reported as the figure `unreachable`.
    """
    kept = target.weights[:, None] * (log_weights > MASKED)
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-30)


def cross_entropy(log_weights: Tensor, gold: Tensor) -> Tensor:
    """-sum_k t_k log p_k of every row, where 0 log 0 is 0: batch x heads x queries."""
    return -(gold * log_weights.clamp_min(MASKED)).sum(-1)


def _divergence(log_weights: Tensor, target: TargetBatch) -> dict[str, Tensor]:
    """KL from gold, and the share of gold mass that no key can hold, over annotated rows."""
    rows = target.rows()
    gold = reachable_gold(log_weights, target)
    held = target.distribution()[:, None] * (log_weights > MASKED)  # batch x heads x queries x keys
    by_row = {
        "kl": cross_entropy(log_weights, gold) - entropy(gold),
        "unreachable": 1 - held.sum(-1),
    }
    count = rows.sum().clamp_min(1)
    return {name: (values.mean(1) * rows).sum() / count for name, values in by_row.items()}
