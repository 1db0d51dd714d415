"""Generalised IoU against values computed by hand."""

from __future__ import annotations

import pytest
import torch

from attnlab.tasks.locate.head import generalised_iou

BOX = torch.tensor([0.0, 0.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 2, 2], 1.0),
        ([1, 0, 3, 2], 1 / 3),  # half shared, nothing of the hull is empty
        ([1, 1, 3, 3], 1 / 7 - 2 / 9),  # two of the hull's nine are empty
        ([4, 0, 6, 2], -1 / 3),  # apart: a third of the hull is empty
        ([0, 0, 1, 1], 1 / 4),  # inside
    ],
)
def test_by_hand(other: list[float], expected: float) -> None:
    found = generalised_iou(BOX, torch.tensor(other, dtype=torch.float))
    assert found == pytest.approx(expected, abs=1e-6)
    assert generalised_iou(torch.tensor(other, dtype=torch.float), BOX) == pytest.approx(
        expected, abs=1e-6
    )


def test_has_a_gradient_where_boxes_do_not_meet() -> None:
    apart = torch.tensor([4.0, 0.0, 6.0, 2.0], requires_grad=True)
    generalised_iou(BOX, apart).backward()
    assert apart.grad is not None
    assert apart.grad[0] < 0, "nearer is better"


def test_empty_boxes_are_finite() -> None:
    empty = torch.zeros(4, requires_grad=True)
    found = generalised_iou(empty, torch.zeros(4))
    found.backward()
    assert found.isfinite() and empty.grad is not None and empty.grad.isfinite().all()
