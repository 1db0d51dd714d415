"""Word alignment: alignment error rate with precision and recall (Och & Ney 2003)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.facts import Figure
from attnlab.metrics.intervals import Values
from attnlab.metrics.links import LinkRule
from attnlab.metrics.pooled import MapMetric, ratio


class AlignmentErrorRate(MapMetric):
    """AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), counts pooled over the corpus.

    Precision is |A & P| / |A|, recall |A & S| / |S|. Published figures differ by what is counted:
    - S is always taken as a subset of P. Where gold knows no possible links, P = S, and AER is
      1 - F1.
    - Links are between the units of the target. Score words, not pieces: carry the map over with
      `regroup_maps` first; sub-word links make other (mostly better) figures.
    - Queries are one side, keys the other: "en->fr" needs the target built that way round. One
      direction gives other figures than two symmetrised ones.
    - A mean of sentence AERs is another figure than this one.
    """

    about = (
        Figure("aer", "Alignment error rate of the links", False, "of random links", "0"),
        Figure("alignment_precision", "Share of the links that gold accepts, sure or possible"),
        Figure("alignment_recall", "Share of the sure gold links that are found"),
    )

    def __init__(self, links: LinkRule) -> None:
        super().__init__()
        self.rule = links

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        return self._counted(self.rule.links(weights, target.keys()), target)

    def best(self, target: TargetBatch) -> Tensor:
        """Sure links first, then possible ones, as many as the rule allows."""
        grades = (target.weights > 0).long() + (target.marks() | (target.weights > 0))
        return self._counted(self.rule.best(grades, target.keys()), target)

    def _counted(self, chances: Tensor, target: TargetBatch) -> Tensor:
        """Expected sizes of the sets that the figures are made of: batch x 4."""
        annotated = target.query_mask[:, :, None] & target.keys()  # batch x queries x keys
        links = chances * annotated
        sure = (target.weights > 0) & annotated
        possible = (target.marks() & annotated) | sure
        sets = (links * sure, links * possible, links, sure.double())
        return torch.stack([each.sum((1, 2)) for each in sets], dim=-1)

    def score(self, sums: Values) -> Values:
        in_sure, in_possible, links, sure = np.moveaxis(sums, -1, 0)
        error = 1 - ratio(in_sure + in_possible, links + sure)
        return np.stack([error, ratio(in_possible, links), ratio(in_sure, sure)], axis=-1)
