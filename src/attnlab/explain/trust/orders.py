"""Decisions on their own, and orders in which units are erased for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.explain.subject import Subject


@dataclass(frozen=True)
class Decisions:
    """Some decisions of a batch, each beside its example."""

    subject: Subject  # one example for each decision
    query: Tensor  # decisions: which of the example's decisions it is
    example: Tensor  # decisions: place of the example in the batch

    @classmethod
    def some(cls, subject: Subject, at_most: int, seed: int = 0) -> Decisions:
        """At most so many decisions of each example, drawn at random."""
        random = torch.Generator().manual_seed(seed)
        noise = torch.rand(subject.decisions.shape, generator=random).to(subject.keys.device)
        rank = noise.masked_fill(~subject.decisions, 2.0).argsort(1).argsort(1)
        example, query = (subject.decisions & (rank < at_most)).nonzero(as_tuple=True)
        return cls(subject.select(example), query, example)

    def rows(self, scores: Tensor) -> Tensor:
        """Each decision's row of an explanation of the batch: decisions x keys."""
        return scores[self.example, self.query]

    def where_kept(self, kept: Tensor) -> Tensor:
        """Probability of each decision: decisions x variants x keys -> decisions x variants."""
        found = self.subject.where_kept(kept, Subject.confidence)
        rows = self.query[:, None, None].expand(-1, kept.shape[1], 1)
        return found.gather(2, rows)[..., 0]

    def means(self, values: Tensor, examples: int) -> Tensor:
        """The mean over each example's decisions: decisions -> examples; NaN where it has none."""
        total = values.new_zeros(examples).index_add(0, self.example, values)
        count = values.new_zeros(examples).index_add(0, self.example, torch.ones_like(values))
        return total / count


def ranks(scores: Tensor, keys: Tensor, seed: int = 0) -> Tensor:
    """The place of each unit from the greatest score down, both decisions x keys.

    Ties are broken at random, so that a constant map erases at random; padding comes last.
    """
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.rand(scores.shape, generator=random).to(scores.device).argsort(1)
    hidden = scores.double().masked_fill(~keys, -torch.inf).gather(1, shuffled)
    order = shuffled.gather(1, hidden.argsort(dim=1, descending=True, stable=True))
    return order.argsort(1)


def sizes(keys: Tensor, fraction: float) -> Tensor:
    """How many units are this share of each row's, at least one: decisions."""
    return torch.ceil(keys.sum(1) * fraction - 1e-6).long().clamp_min(1)
