"""One mask, two lowerings: as a matrix and as a rule for one pair, held equal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_mask

from attnlab.attention.kernels.fused import mask_rule
from attnlab.attention.mask import Causal, Mask, Pattern
from attnlab.attention.rules import BigBird, Block, Dilated, Strided

PATTERNS: list[Pattern] = [
    Dilated(reach=2, step=2),
    Strided(stride=3),
    Block(size=2, neighbours=1),
    BigBird(block=2, window=1, global_blocks=1, random_blocks=1, seed=3),
]


@st.composite
def masks(draw: st.DrawFn, batch: int, queries: int, keys: int) -> Mask:
    flags = st.lists(st.booleans(), min_size=keys, max_size=keys)
    padding = st.lists(flags, min_size=batch, max_size=batch).map(torch.tensor)
    return Mask(
        keys=draw(st.none() | padding),
        causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(st.integers(0, 4), st.integers(0, 4))),
        patterns=tuple(draw(st.lists(st.sampled_from(PATTERNS), max_size=2))),
        custom=draw(st.none() | st.just(torch.rand(batch, 1, queries, keys) > 0.3)),
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
def test_lowerings_are_equal(
    data: st.DataObject, batch: int, queries: int, keys: int, start: int
) -> None:
    torch.manual_seed(0)
    mask = data.draw(masks(batch, queries, keys))
    positions = torch.arange(start, start + queries)
    rule = create_mask(mask_rule(mask, start), batch, 1, queries, keys, device="cpu")
    allowed = mask.allowed(positions, keys)
    dense = torch.ones_like(rule) if allowed is None else allowed.expand_as(rule)
    assert (dense == rule).all()
    bias = mask.bias(positions, keys, torch.float32)
    assert (bias is None) == (allowed is None)
    if bias is not None:
        assert ((bias == 0) == allowed).all()
        assert (bias[~allowed] == float("-inf")).all()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_and_allows_what_both_allow(data: st.DataObject) -> None:
    torch.manual_seed(0)
    one, other = data.draw(masks(2, 5, 6)), data.draw(masks(2, 5, 6))
    everything = torch.ones(2, 1, 5, 6, dtype=torch.bool)
    seen = [m.allowed(torch.arange(5), 6) for m in (one, other, one & other)]
    first, second, both = (everything if s is None else everything & s for s in seen)
    assert (both == (first & second)).all()


def test_patterns_are_the_same_for_positions_of_either_type() -> None:
    """FlexAttention counts in int32, the matrix in int64."""
    pattern = BigBird(block=2, window=0, global_blocks=0, random_blocks=3, seed=7)
    wide, narrow = (torch.arange(4000, dtype=dtype) for dtype in (torch.int64, torch.int32))
    for query in (0, 100, 3999):
        expected = pattern.allows(wide[query], wide)
        assert torch.equal(pattern.allows(narrow[query], narrow), expected)


def test_causal_corner_is_at_the_top_left() -> None:
    allowed = Mask(causal=True).allowed(torch.arange(2), 4)
    assert allowed is not None
    assert allowed[0, 0].tolist() == [[True, False, False, False], [True, True, False, False]]


def test_rows_and_select_cut_the_same_mask() -> None:
    torch.manual_seed(0)
    mask = Mask(keys=torch.rand(3, 4) > 0.2, causal=True, custom=torch.rand(3, 1, 5, 4) > 0.3)
    whole = mask.allowed(torch.arange(5), 4)
    rows = mask.rows([1, 4]).allowed(torch.tensor([1, 4]), 4)
    examples = mask.select(torch.tensor([2, 0])).allowed(torch.arange(5), 4)
    assert whole is not None
    assert torch.equal(whole[:, :, [1, 4]], rows)
    assert torch.equal(whole[[2, 0]], examples)


@pytest.mark.parametrize("mask", [Mask(), Mask(causal=False, window=None)])
def test_nothing_forbidden_is_none(mask: Mask) -> None:
    assert mask.allowed(torch.arange(3), 4) is None
    assert not mask.only_causal


def test_only_causal() -> None:
    assert Mask(causal=True).only_causal
    assert Mask(patterns=(Causal(),)).only_causal
    assert not Mask(causal=True, window=(1, 1)).only_causal
    assert not Mask(causal=True, keys=torch.ones(1, 2, dtype=torch.bool)).only_causal
