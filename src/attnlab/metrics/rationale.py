"""Rationales and spans: is the weight on the tokens that people marked?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.intervals import Values
from attnlab.metrics.links import LinkRule
from attnlab.metrics.pooled import MapMetric, RowMetric, ratio
from attnlab.metrics.ranked import Ranking, rank


class AveragePrecision(RowMetric):
    """sum_n (R_n - R_(n-1)) P_n over the distinct weights of a row, then the mean over rows.

    Uniform weights score the share of marked keys, which is what knowing nothing should score.
    """

    name = "average_precision"

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        ranking = rank(weights, target.marks(), target.keys())
        precision = _precision(ranking)
        return (ranking.marks * precision).sum(-1) / ranking.marks.sum(-1)


class Auprc(RowMetric):
    """Area under the precision-recall curve by trapezoids, as ERASER has it (DeYoung et al. 2020).

    Kept for comparison with published figures. It interpolates between thresholds, so that uniform
    weights score (1 + pi) / 2 at a share pi of marked keys (0.60 at 20%): read it beside its
    uniform control only, or read `AveragePrecision`. Published macro means are over documents,
    which is one row here.
    """

    name = "auprc"

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        ranking = rank(weights, target.marks(), target.keys())
        precision = _precision(ranking)  # at the end of each group of ties
        before = precision.gather(-1, (ranking.first - 1).clamp_min(0))
        before = torch.where(ranking.first == 0, 1.0, before)  # the curve begins at recall 0, P 1
        trapezoids = ranking.marks * (precision + before) / 2
        return trapezoids.sum(-1) / ranking.marks.sum(-1)


def _precision(ranking: Ranking) -> Tensor:
    """Precision when all keys down to this rank, ties included, are taken."""
    return ranking.up_to(ranking.marks, ranking.last) / (ranking.last + 1)


class TokenF1(MapMetric):
    """Precision, recall and F1 of marked tokens: pooled over the corpus, and the mean of rows.

    `token_f1_macro` is ERASER's instance macro F1 (the mean of each row's F1, not the F1 of mean
    precision and recall). Rows that are annotated as having no rationale count: any token
    marked there is wrong, and their own F1 is 0 (as in ERASER).
    """

    figures = ("token_f1", "token_precision", "token_recall", "token_f1_macro")

    def __init__(self, rule: LinkRule) -> None:
        super().__init__()
        self.rule = rule

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        judged = target.query_mask[:, :, None] & target.keys()
        predicted = self.rule.links(weights, target.keys()) & judged
        gold = target.marks() & judged
        hits = (predicted & gold).sum(-1)  # batch x queries
        sizes = predicted.sum(-1) + gold.sum(-1)
        f1 = 2 * hits / sizes.clamp_min(1)
        totals = (hits, predicted.sum(-1), gold.sum(-1), f1, target.query_mask)
        return torch.stack([total.double().sum(-1) for total in totals], dim=-1)

    def score(self, sums: Values) -> Values:
        hits, predicted, gold, f1, rows = np.moveaxis(sums, -1, 0)
        figures = (
            ratio(2 * hits, predicted + gold),
            ratio(hits, predicted),
            ratio(hits, gold),
            ratio(f1, rows),
        )
        return np.stack(figures, axis=-1)
