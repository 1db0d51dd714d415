"""How a map moves along the keys from query to query: boundaries in time, and monotonicity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.intervals import Values
from attnlab.metrics.links import LinkRule
from attnlab.metrics.pooled import MapMetric, ratio
from attnlab.metrics.rationale import stretches


class BoundaryF1(MapMetric):
    """F1 of where marked stretches begin and end, within `tolerance` keys (often frames).

    Each gold boundary is found at most once and each predicted one finds at most one. Without
    that, a map that flickers would be rewarded.
    """

    figures = ("boundary_f1", "boundary_precision", "boundary_recall")

    def __init__(self, rule: LinkRule, tolerance: int) -> None:
        super().__init__()
        self.rule, self.tolerance = rule, tolerance

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        # Rows that nobody annotated, such as that of the end mark, must not take keys from others.
        counted = target.keys() & target.rows()[..., None]
        links = (self.rule.links(weights, counted) & counted).cpu().numpy()
        gold = (target.marks() & target.keys()).cpu().numpy()
        table = torch.zeros(len(weights), 3, dtype=torch.double, device=weights.device)
        for i, j in target.rows().nonzero().tolist():
            predicted, true = boundaries(links[i, j]), boundaries(gold[i, j])
            found = matched(predicted, true, self.tolerance)
            table[i] += torch.tensor([found, len(predicted), len(true)])
        return table

    def score(self, sums: Values) -> Values:
        found, predicted, gold = np.moveaxis(sums, -1, 0)
        figures = (ratio(2 * found, predicted + gold), ratio(found, predicted), ratio(found, gold))
        return np.stack(figures, axis=-1)


class Monotonicity(MapMetric):
    """How often the peak does not go back from one annotated row to the next; needs no gold marks.

    A map that never moves is monotone too (uniform scores 1): `forward_steps`, the share of steps
    that do go forward, and the oracle's figures belong beside it. Tied peaks stand at their mean.
    """

    figures = ("monotonicity", "forward_steps")

    def count(self, weights: Tensor, target: TargetBatch) -> Tensor:
        hidden = weights.masked_fill(~target.keys(), -1.0)
        peak = (hidden == hidden.amax(-1, keepdim=True)) & target.keys()
        place = torch.arange(weights.shape[-1], device=weights.device)
        where = (peak * place).sum(-1) / peak.sum(-1).clamp_min(1)  # batch x queries
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
