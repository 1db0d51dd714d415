"""Blocks that a mask lists: each allowed pair once, and nothing of what no query may attend to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from attnlab.attention.blocks import Blocks, blocks_of, count
from attnlab.attention.mask import Causal, Mask, Pattern, Window
from attnlab.attention.rules import BigBird, Block, Dilated, Strided

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Even:
    """A rule that states no blocks, as a plugin's may."""

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        return (query + key) % 2 == 0


RULES: list[tuple[Pattern, ...]] = [
    (),
    (Causal(),),
    (Window(5, 3),),
    (Window(40, 0), Causal()),
    (Dilated(2, 3),),
    (Dilated(1, 1), Causal()),
    (Strided(5),),
    (Strided(1),),
    (Strided(7), Causal(), Window(60, 60)),
    (Block(6, 1),),
    (Block(40, 0), Causal()),
    (BigBird(16, 1, 1, 1, 0),),
    (BigBird(5, 1, 1, 1, 3), Causal()),
    (Even(), Causal()),
]


def allowed_pairs(blocks: Blocks, queries: int, keys: int) -> Tensor:
    """maps or 1 x queries x keys: how often a list of the first example allows each pair."""
    read, allowed = blocks.gathered()  # ... x query blocks x longest (x size x size)
    maps, rows, longest = read.shape[1:]
    size, columns = blocks.size, count(keys, blocks.size)
    pairs = torch.zeros(maps, rows, columns, size, size, dtype=torch.int)
    for map_, row, slot in torch.cartesian_prod(*map(torch.arange, (maps, rows, longest))):
        pairs[map_, row, read[0, map_, row, slot]] += allowed[0, map_, row, slot].int()
    pairs = pairs.transpose(2, 3).flatten(3).flatten(1, 2)[:, :queries, :keys]
    if blocks.query_order is not None and blocks.key_order is not None:
        pairs = pairs[:, blocks.query_order.argsort()][:, :, blocks.key_order.argsort()]
    return pairs


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize(("start", "queries", "keys"), [(0, 150, 150), (30, 70, 100)])
@pytest.mark.parametrize("size", [16, 64])
def test_lists_allow_each_pair_once(
    rules: tuple[Pattern, ...], start: int, queries: int, keys: int, size: int
) -> None:
    mask = Mask(patterns=rules)
    expected = Mask(patterns=(*rules, Window(1000, 1000))).allowed(
        torch.arange(start, start + queries), keys
    )
    for ordered in (True, False):
        lists = blocks_of(mask, start, queries, keys, size, CPU, ordered=ordered)
        found = torch.stack([allowed_pairs(blocks, queries, keys) for blocks in lists]).sum(0)
        assert expected is not None
        assert torch.equal(found[0], expected[0, 0].long())
        assert ordered or len(lists) == 1


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        (Causal(), 0.51),
        (Window(64, 64), 0.012),
        (Dilated(32, 16), 0.012),
        (Strided(32), 0.05),
        (Block(128, 1), 0.024),
        (BigBird(64, 1, 1, 1, 0), 7 / 256),
    ],
    ids=str,
)
def test_a_rule_leaves_out_what_no_query_attends_to(rule: Pattern, most: float) -> None:
    lists = blocks_of(Mask(patterns=(rule,)), 0, 16384, 16384, 64, CPU)
    assert sum(blocks.density for blocks in lists) < most


def test_equal_tiles_are_kept_once() -> None:
    (blocks,) = blocks_of(Mask(causal=True), 0, 4096, 4096, 64, CPU)
    assert len(blocks.tiles) == 1
    assert (blocks.tile >= 0).sum() == 64  # one on the diagonal for each query block


def test_lists_of_a_matrix_of_each_example_and_head() -> None:
    torch.manual_seed(0)
    custom = torch.rand(2, 3, 70, 90) > 0.4
    custom[0, 1, :32] = False
    (blocks,) = blocks_of(Mask(custom=custom, causal=True), 0, 70, 90, 16, CPU)
    causal = torch.arange(70)[:, None] >= torch.arange(90)
    expected = custom & causal
    assert torch.equal(allowed_pairs(blocks, 70, 90), expected[0].int())
    assert not blocks.read()[0][0, 1, :2].any()


def test_transposed_lists_name_the_same_pairs_and_tiles() -> None:
    torch.manual_seed(0)
    custom = torch.rand(2, 2, 80, 48) > 0.97
    (blocks,) = blocks_of(Mask(custom=custom), 0, 80, 48, 16, CPU)
    back = blocks.transposed
    starts = back.starts
    for example, map_, column in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))):
        slots = range(*starts[example, map_, column : column + 2].tolist())
        rows = [int(back.listed[slot]) for slot in slots]
        assert rows == blocks.read()[0][example, map_, :, column].nonzero()[:, 0].tolist()
        for slot, row in zip(slots, rows, strict=True):
            tile = back.tiles[back.tile[slot]].bool().T
            pairs = custom[example, map_, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert torch.equal(tile, pairs)
