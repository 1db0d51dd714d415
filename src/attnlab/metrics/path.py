"""Maps over time: where linked stretches begin and end, and whether the peak moves forward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.links import LinkRule, Marks
from attnlab.metrics.pooled import MapMetric, ratio
from attnlab.metrics.rationale import sampled_rows, stretches


class BoundaryF1(MapMetric):
    """F1 of where marked stretches begin and end, within `tolerance` keys (often frames).

    Each gold boundary is found at most once and each predicted one finds at most one. Without
    that, a map that flickers would be rewarded.
    """

    about = (
        Figure(
            "boundary_f1",
            "F1 of where linked stretches begin and end, within a tolerance",
            uniform="by link rule",
        ),
        Figure("boundary_precision", "Share of the predicted boundaries that are right"),
        Figure("boundary_recall", "Share of the gold boundaries that are found"),
    )

    def __init__(self, links: LinkRule, tolerance: int) -> None:
        super().__init__()
        self.rule, self.tolerance = links, tolerance

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        counted, gold = self._counted_keys(target), (target.marks() & target.keys()).cpu().numpy()

        def row(links: Marks, i: int, j: int) -> Sequence[float]:
            predicted, true = boundaries(links), boundaries(gold[i, j])
            return matched(predicted, true, self.tolerance), len(predicted), len(true)

        return sampled_rows(self.rule, weights, counted, target.rows(), row, 3)

    def best(self, target: TargetBatch) -> Tensor:
        """A bound: two boundaries a link at most, and more where a row needs more links."""
        fewest, most = self.rule.sizes(self._counted_keys(target))
        gold = (target.marks() & target.keys()).cpu().numpy()
        table = torch.zeros(len(gold), 3, dtype=torch.double, device=target.weights.device)
        for i, j in target.rows().nonzero().tolist():
            true = boundaries(gold[i, j])
            hits = min(len(true), 2 * int(most[i, j]))
            room = int(gold[i, j].sum()) + self.tolerance * len(true)
            table[i] += torch.tensor([hits, hits + int(fewest[i, j] > room), len(true)])
        return table

    def _counted_keys(self, target: TargetBatch) -> Tensor:
        """Rows that nobody annotated, such as that of the end mark, take no keys from others."""
        return target.keys() & target.rows()[..., None]

    def score(self, sums: Values) -> Values:
        hits, predicted, gold = np.moveaxis(sums, -1, 0)
        figures = (ratio(2 * hits, predicted + gold), ratio(hits, predicted), ratio(hits, gold))
        return np.stack(figures, axis=-1)


class Monotonicity(MapMetric):
    """How often the peak does not go back from one annotated row to the next; needs no gold marks.

    It describes a map and rates none: one that never moves is monotone too (uniform scores 1).
    Compare it, and `forward_steps`, with gold's own, which is what the oracle's column holds. Tied
    peaks stand at their mean.
    """

    about = (
        Figure(
            "monotonicity",
            "Share of steps from row to row in which the peak does not go back",
            None,
            "1",
            "that of gold",
        ),
        Figure(
            "forward_steps",
            "Share of steps from row to row in which the peak goes forward",
            None,
            "0",
            "that of gold",
        ),
    )

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        hidden = weights.masked_fill(~target.keys(), -1.0)
        peak = (hidden == hidden.amax(-1, keepdim=True)) & target.keys()
        position = torch.arange(weights.shape[-1], device=weights.device)
        where = (peak * position).sum(-1) / peak.sum(-1).clamp_min(1)  # batch x queries
        table = torch.zeros(len(weights), 3, dtype=torch.double, device=weights.device)
        for i, rows in enumerate(target.query_mask):
            steps = where[i][rows].diff()
            table[i] = torch.tensor([(steps >= 0).sum(), (steps > 0).sum(), len(steps)])
        return table

    def score(self, sums: Values) -> Values:
        kept, forward, steps = np.moveaxis(sums, -1, 0)
        return np.stack([ratio(kept, steps), ratio(forward, steps)], axis=-1)


def boundaries(marks: npt.NDArray[np.bool_]) -> list[int]:
    """Where stretches begin and end, in order."""
    return [edge for stretch in stretches(marks) for edge in stretch]


def matched(predicted: Sequence[float], gold: Sequence[float], tolerance: float) -> int:
    """The greatest number of pairs no further apart than the tolerance; both lists in order."""
    pairs = i = j = 0
    while i < len(predicted) and j < len(gold):
        if abs(predicted[i] - gold[j]) <= tolerance:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif predicted[i] < gold[j]:
            i += 1
        else:
            j += 1
    return pairs
