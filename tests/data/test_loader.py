"""Which examples make which batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.data.loader import BatchOrder, UnitOrder

LENGTHS = np.random.default_rng(0).integers(1, 40, 500).tolist()


def epoch(order: BatchOrder, number: int) -> list[list[int]]:
    order.epoch = number
    return list(order)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 120))
def test_batches_of_units_are_full_and_not_too_full(lengths: list[int], units: int) -> None:
    order = UnitOrder(lengths, units, seed=0, rank=0, world=1)
    batches = epoch(order, 0)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= units
    sizes = [sorted(lengths[i] for i in batch) for batch in batches]
    in_order = sorted(sizes, key=lambda size: (size[0], size[-1], -len(size)))
    for batch, following in pairwise(in_order):
        assert (len(batch) + 1) * following[0] > units  # another example would not have fitted


def test_batches_of_units_change_with_the_epoch_and_not_in_number() -> None:
    order = UnitOrder(LENGTHS, 200, seed=1, rank=0, world=1)
    first, again, second = epoch(order, 0), epoch(order, 0), epoch(order, 1)
    assert first == again != second
    assert len(first) == len(second) == len(order)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_of_units(world: int) -> None:
    shares = [epoch(UnitOrder(LENGTHS, 200, 1, rank, world), 0) for rank in range(world)]
    whole = epoch(UnitOrder(LENGTHS, 200 * world, 1, 0, 1), 0)
    assert [len(share) for share in shares] == [len(whole)] * world
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert {i for part in parts for i in part} == set(batch)
        assert len({len(part) for part in parts}) == 1


@pytest.mark.parametrize("world", [1, 2])
def test_rare_examples_are_drawn_as_often_as_their_chances_say(world: int) -> None:
    """450 examples of one label and 50 of another, each label half of what is drawn."""
    rare = np.arange(500) >= 450
    orders = [BatchOrder(LENGTHS, 10, 4, 0, rank, world) for rank in range(world)]
    for order in orders:
        order.chances = np.where(rare, 1 / (2 * 50), 1 / (2 * 450))
    drawn = [
        i
        for number in range(8)
        for order in orders
        for batch in epoch(order, number)
        for i in batch
    ]
    assert len(drawn) == 8 * 500
    assert 0.46 < rare[drawn].mean() < 0.54
    assert epoch(orders[0], 0) == epoch(orders[0], 0) != epoch(orders[0], 1)


def test_it_goes_on_in_the_middle_of_an_epoch() -> None:
    order = UnitOrder(LENGTHS, 200, 1, 0, 1)
    whole = epoch(order, 0)
    order.skip = 4
    assert list(order) == whole[4:]
