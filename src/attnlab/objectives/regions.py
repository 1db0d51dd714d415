"""Losses of boxes."""

from __future__ import annotations

import torch
from torch import Tensor


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
