"""Which predicted box belongs to which gold box, and how far boxes are apart."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

NEVER = 1e6  # in place of a cost that is no number: an assignment of such is refused


def best_matching(costs: Tensor, real: Tensor) -> Tensor:
    """The matching of predictions and gold of least total cost (Kuhn 1955), as an order.

    Args:
        costs: batch x predictions x gold.
        real: batch x gold, bool: which gold is real. Real gold comes first, and there is no more of
            it than there are predictions.

    Returns:
        The numbers of the predictions, batch x predictions: the n-th belongs to the n-th gold;
        those without gold come last.
    """
    tables = torch.nan_to_num(costs.detach().double(), NEVER, NEVER, -NEVER).cpu().numpy()
    orders = []
    for table, count in zip(tables, real.sum(1).tolist(), strict=True):
        predictions, gold = linear_sum_assignment(table[:, :count])
        matched = predictions[np.argsort(gold)]
        others = np.setdiff1d(np.arange(len(table)), matched)
        orders.append(np.concatenate([matched, others]))
    return torch.from_numpy(np.stack(orders)).to(costs.device)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU less the share of the box round both that neither fills (Rezatofighi et al. 2019).

    Pairs of boxes, ... x 4 (left, top, right, bottom); from -1 to 1, with a gradient even where
    they do not meet.
    """
    low, high = (
        torch.maximum(one[..., :2], other[..., :2]),
        torch.minimum(one[..., 2:], other[..., 2:]),
    )
    shared = (high - low).clamp_min(0).prod(-1)
    union = _area(one) + _area(other) - shared
    around = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(
        one[..., :2], other[..., :2]
    )
    hull = around.prod(-1).clamp_min(1e-9)
    return shared / union.clamp_min(1e-9) - (hull - union) / hull


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)
