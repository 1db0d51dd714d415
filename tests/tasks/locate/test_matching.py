"""The assignment of answers to gold against every permutation."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from attnlab.tasks.locate.head import best_matching


@pytest.mark.parametrize("seed", range(3))
def test_no_other_pairs_cost_less(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    costs = torch.rand(4, 5, 3, generator=random)
    there = torch.tensor([[True] * 3, [True, True, False], [True, False, False], [False] * 3])
    found = best_matching(costs, there)
    for cost, count, order in zip(costs, there.sum(1).tolist(), found, strict=True):
        assert sorted(order.tolist()) == list(range(5))
        least = min(
            sum(float(cost[answer, gold]) for gold, answer in enumerate(some))
            for some in permutations(range(5), count)
        )
        made = sum(float(cost[order[gold], gold]) for gold in range(count))
        assert made == pytest.approx(least)


def test_costs_that_are_no_numbers_are_the_last_choice() -> None:
    costs = torch.tensor([[[float("nan")], [float("inf")], [3.0]]])
    assert best_matching(costs, torch.tensor([[True]]))[0, 0] == 2
