"""Rationales and spans: is the weight on the tokens that people marked?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.agreement import Ranking, rank
from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.links import LinkMetric, LinkRule, Marks
from attnlab.metrics.pooled import MapMetric, MarkedRowMetric, ratio

Stretch = tuple[int, int]


class AveragePrecision(MarkedRowMetric):
    """sum_n (R_n - R_(n-1)) P_n over the distinct weights of a row, then the mean over rows.

    Uniform weights score the share of marked keys, which is what knowing nothing should score.
    """

    about = (
        Figure(
            "average_precision",
            "Average precision of keys ordered by weight against the marks, mean over rows",
            uniform="share marked",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        ranking = rank(weights, target.marks(), target.keys())
        precision = _precision(ranking)
        return (ranking.marks * precision).sum(-1) / ranking.marks.sum(-1)


class Auprc(MarkedRowMetric):
    """Area under the precision-recall curve by trapezoids, as ERASER has it (DeYoung et al. 2020).

    Kept for comparison with published figures. It interpolates between thresholds, so that uniform
    weights score (1 + pi) / 2 at a share pi of marked keys (0.60 at 20%): read it beside its
    uniform control only, or read `AveragePrecision`. Published macro means are over documents,
    which is one row here.
    """

    about = (
        Figure(
            "auprc",
            "Area under the precision-recall curve by trapezoids, which flatters ties",
            uniform="(1 + share marked) / 2",
            note="trapezoids",
        ),
    )

    def values(self, weights: Tensor, target: TargetBatch) -> Tensor:
        ranking = rank(weights, target.marks(), target.keys())
        precision = _precision(ranking)  # at the end of each group of ties
        taken = ranking.before_ties(ranking.marks)
        # The curve begins at recall 0 with precision 1.
        before = torch.where(ranking.first == 0, 1.0, taken / ranking.first.clamp_min(1))
        trapezoids = ranking.marks * (precision + before) / 2
        return trapezoids.sum(-1) / ranking.marks.sum(-1)


def _precision(ranking: Ranking) -> Tensor:
    """Precision when all keys down to this rank, ties included, are taken."""
    return ranking.up_to_ties(ranking.marks) / (ranking.last + 1)


class TokenF1(LinkMetric):
    """Precision, recall and F1 of marked tokens: pooled over the corpus, and the mean of rows.

    `token_f1_macro` is ERASER's instance macro F1 (the mean of each row's F1, not the F1 of mean
    precision and recall). Rows that are annotated as having no rationale count: any token
    marked there is wrong, and their own F1 is 0 (as in ERASER).
    """

    about = (
        Figure("token_f1", "F1 of linked keys against marked keys, pooled", uniform="by link rule"),
        Figure("token_precision", "Share of the linked keys that are marked"),
        Figure("token_recall", "Share of the marked keys that are linked"),
        Figure("token_f1_macro", "Mean over rows of the F1 of linked keys against marked keys"),
    )

    def counted(self, chances: Tensor, target: TargetBatch) -> Tensor:
        """Expected counts over the order of tied keys: batch x 5."""
        annotated = target.query_mask[:, :, None] & target.keys()
        predicted, gold = chances * annotated, target.marks() & annotated
        hits = (predicted * gold).sum(-1)  # batch x queries
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


class IouF1(MapMetric):
    """F1 of marked stretches: one is found if its overlap over union is at least `threshold`.

    A gold stretch can be found once, and a prediction can find one. ERASER (DeYoung et al. 2020)
    counts every prediction that finds something, so that two halves of one gold stretch give a
    recall of 2.0; its figure (F1 of the mean precision and mean recall of rows, counted that way)
    is `iou_f1_eraser`, for comparison with published ones only. The threshold is not below one
    half: then no stretch can be found by two predictions, but for exact halves.
    """

    about = (
        Figure(
            "iou_f1", "F1 of linked stretches that overlap a marked one", uniform="by link rule"
        ),
        Figure("iou_precision", "Share of the linked stretches that overlap a marked one"),
        Figure("iou_recall", "Share of the marked stretches that a linked one overlaps"),
        Figure("iou_f1_eraser", "The same F1 as ERASER counts it, for published figures only"),
    )

    def __init__(self, links: LinkRule, iou: float) -> None:
        super().__init__()
        self.rule, self.threshold = links, iou

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        gold = (target.marks() & target.keys()).cpu().numpy()

        def row(links: Marks, i: int, j: int) -> Sequence[float]:
            return self._row(stretches(links), stretches(gold[i, j]))

        return sampled_rows(self.rule, weights, target.keys(), target.query_mask, row, 7)

    def best(self, target: TargetBatch) -> Tensor:
        """A bound: the shortest stretches are found first, with as few links as they need.

        A row that has to link more than the stretches can take links one more, which is wrong.
        """
        fewest, most = self.rule.sizes(target.keys())
        gold = (target.marks() & target.keys()).cpu().numpy()
        table = torch.zeros(len(gold), 7, dtype=torch.double, device=target.weights.device)
        for i, j in target.query_mask.nonzero().tolist():
            lengths = sorted(end - start for start, end in stretches(gold[i, j]))
            needed = np.cumsum([math.ceil(n * self.threshold - 1e-9) for n in lengths])
            hits = int((needed <= int(most[i, j])).sum())
            longest = lengths[len(lengths) - hits :]
            room = sum(math.floor(n / self.threshold + 1e-9) for n in longest)
            predicted = hits + int(fewest[i, j] > room)
            sizes = [hits, predicted, len(lengths)]
            means = hits / max(predicted, 1), predicted > 0, hits / max(len(lengths), 1)
            table[i] += torch.tensor([*sizes, *means, bool(lengths)], dtype=torch.double)
        return table

    def _row(self, predicted: list[Stretch], gold: list[Stretch]) -> list[float]:
        """Pairs found, both sizes; ERASER's precision and recall, and whether each is defined."""
        pairs = sorted(
            (-overlap(p, g), p, g)
            for p in predicted
            for g in gold
            if overlap(p, g) >= self.threshold
        )
        used: set[tuple[str, Stretch]] = set()
        matched = 0
        for _, p, g in pairs:
            if ("predicted", p) not in used and ("gold", g) not in used:
                used |= {("predicted", p), ("gold", g)}
                matched += 1
        hits = len({p for _, p, _ in pairs})
        precision, recall = hits / max(len(predicted), 1), hits / max(len(gold), 1)
        sizes = [matched, len(predicted), len(gold)]
        return [*sizes, precision, bool(predicted), recall, bool(gold)]

    def score(self, sums: Values) -> Values:
        hits, predicted, gold, precision, with_predicted, recall, with_gold = np.moveaxis(
            sums, -1, 0
        )
        mean_precision = ratio(precision, with_predicted, empty=0.0)
        mean_recall = ratio(recall, with_gold, empty=0.0)
        figures = (
            ratio(2 * hits, predicted + gold),
            ratio(hits, predicted),
            ratio(hits, gold),
            ratio(2 * mean_precision * mean_recall, mean_precision + mean_recall, empty=0.0),
        )
        return np.stack(figures, axis=-1)


def sampled_rows(
    rule: LinkRule,
    weights: Tensor,
    keys: Tensor,
    rows: Tensor,
    count: Callable[[Marks, int, int], Sequence[float]],
    statistics: int,
) -> Tensor:
    """Statistics of links summed over rows, as means over random orders of tied keys.

    `count` gives so many statistics of a row's links: links, example, row. Gives batch x
    statistics.
    """
    table = torch.zeros(len(weights), statistics, dtype=torch.double)
    indices = rows.nonzero().tolist()
    samples = [(links & keys).cpu().numpy() for links in rule.samples(weights, keys)]
    for links in samples:
        for i, j in indices:
            table[i] += torch.tensor(count(links[i, j], i, j), dtype=torch.double)
    return (table / len(samples)).to(weights.device)


def stretches(marks: npt.NDArray[np.bool_]) -> list[Stretch]:
    """Maximal runs of marked keys, as (first, first after): marks is keys long."""
    edges = np.flatnonzero(np.diff(marks.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def overlap(one: Stretch, other: Stretch) -> float:
    """Intersection over union of two stretches."""
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)
