"""From maps to marks: each rule by its definition, and ties never by position."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
import torch

from attnlab.metrics.links import Above, Argmax, Path, Top

WEIGHTS = torch.tensor([[[0.1, 0.4, 0.2, 0.3, 0.9]]])
KEYS = torch.tensor([[[True, True, True, True, False]]])


def marked(rule, weights=WEIGHTS):
    chances = rule.links(weights, KEYS)[0, 0]
    assert ((chances == 0) | (chances == 1)).all()
    return chances.nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Argmax(minimum=0.0), [1]),
        (Argmax(minimum=0.5), []),
        (Above(times=1.0), [1, 3]),  # above 1/4
        (Above(times=0.5), [1, 2, 3]),
        (Top(share=0.5), [1, 3]),
        (Top(share=0.01), [1]),
        (Top(share=1.0), [0, 1, 2, 3]),
    ],
)
def test_rules_mark_visible_keys(rule, expected):
    assert marked(rule) == expected


def test_tied_keys_share_their_links():
    tied = torch.full((1, 1, 5), 0.25)
    assert Argmax(minimum=0.0).links(tied, KEYS)[0, 0].tolist() == [0.25] * 4 + [0]
    assert Top(share=0.5).links(tied, KEYS)[0, 0].tolist() == [0.5] * 4 + [0]
    assert marked(Above(times=1.0), tied) == []
    partly = torch.tensor([[[0.4, 0.2, 0.2, 0.2, 0.9]]])
    assert Top(share=0.5).links(partly, KEYS)[0, 0].tolist() == pytest.approx([1, *[1 / 3] * 3, 0])


@pytest.mark.parametrize("rule", [Argmax(minimum=0.0), Top(share=0.5), Path(level=0.5)])
def test_samples_have_the_chances_of_links(rule):
    tied = torch.full((50, 2, 5), 0.25)
    keys = KEYS.expand(50, 2, 5)
    samples = torch.stack(list(rule.samples(tied, keys))).double()
    assert torch.allclose(samples.mean((0, 1)), rule.links(tied, keys).mean(0), atol=0.05)
    if not isinstance(rule, Path):
        assert (samples.sum(-1) == rule.sizes(keys)[0]).all()
    assert torch.equal(torch.stack(list(rule.samples(tied, keys))).double(), samples)


def test_tied_paths_favour_no_row():
    """Two rows that are alike share the keys, the first the early half, on average."""
    tied = torch.full((200, 2, 4), 0.25)
    keys = torch.ones(200, 2, 4, dtype=torch.bool)
    share = Path(level=0.5).links(tied, keys).sum(-1).mean(0)
    assert share.tolist() == pytest.approx([2, 2], abs=0.1)


def test_rows_that_sum_to_more_than_one_are_scaled():
    sigmoid = torch.tensor([[[0.9, 0.9, 0.3, 0.3, 0.9]]])
    assert marked(Above(times=1.2), sigmoid) == [0, 1]


def every_layout(queries: int, keys: int):
    """All ways to give each row, in order, one stretch of keys or none."""
    for edges in combinations_with_replacement(range(keys + 1), 2 * queries):
        yield list(zip(edges[::2], edges[1::2], strict=True))


def test_path_is_the_best_of_all_layouts():
    torch.manual_seed(0)
    level = 0.5
    for queries, keys in ((1, 6), (2, 6), (3, 5)):
        weights = torch.rand(4, queries, keys).pow(3).double()
        weights = weights / weights.sum(-1, keepdim=True)
        everywhere = torch.ones_like(weights, dtype=torch.bool)
        marks = Path(level=level).links(weights, everywhere)
        gain = weights / weights.square().sum(-1, keepdim=True) - level
        for i in range(4):
            gains = [
                sum(gain[i, q, start:stop].sum().item() for q, (start, stop) in enumerate(layout))
                for layout in every_layout(queries, keys)
            ]
            assert (gain[i] * marks[i]).sum().item() == pytest.approx(max(gains))


def test_path_keeps_the_order_and_leaves_silence_to_nobody():
    weights = torch.zeros(1, 2, 10)
    weights[0, 0, 1:4] = 1 / 3
    weights[0, 1, 5:8] = 0.3
    weights[0, 1, 1] = 0.1  # a glance back
    keys = torch.arange(10).expand(1, 2, 10) < 9
    marks = Path(level=0.5).links(weights, keys)
    assert marks[0].nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [1, 5], [1, 6], [1, 7]]


def test_path_of_a_row_that_does_not_exist_is_empty():
    keys = torch.ones(1, 2, 4, dtype=torch.bool)
    keys[0, 1] = False
    weights = torch.full((1, 2, 4), 0.25)
    marks = Path(level=0.5).links(weights, keys)
    assert marks[0, 0].bool().all() and not marks[0, 1].any()
