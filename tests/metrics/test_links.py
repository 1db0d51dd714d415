"""From maps to marks: each rule by its definition, and ties never by position."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch

from attnlab.data.groups import Groups
from attnlab.data.target_batch import collate_targets, regroup_maps
from attnlab.datasets.targets import alignment_target, parse_pharaoh
from attnlab.metrics.links import Above, AlignmentErrorRate, Argmax, Path, Top
from tests.maps import random_batch, random_maps

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


def links_by_loop(weights, target):
    """Och & Ney's sets, written out: A from the argmax of each annotated row, S and P."""
    predicted, sure, possible = set(), set(), set()
    for b in range(len(weights)):
        for q in range(weights.shape[1]):
            if not target.query_mask[b, q]:
                continue
            keys = [k for k in range(weights.shape[2]) if target.key_mask[b, k]]
            predicted.add((b, q, max(keys, key=lambda k: weights[b, q, k].item())))
            sure |= {(b, q, k) for k in keys if target.weights[b, q, k] > 0}
            if target.possible is not None:
                possible |= {(b, q, k) for k in keys if target.possible[b, q, k] > 0}
    return predicted, sure, possible | sure


@pytest.mark.parametrize("kind", ["hard", "sure_possible"])
@pytest.mark.parametrize("seed", range(5))
def test_error_rate_over_two_batches_is_that_of_the_pooled_sets(seed, kind):
    metric = AlignmentErrorRate(Argmax(minimum=0.0))
    sizes = np.zeros(4)
    for part in range(2):
        target = random_batch(10 * seed + part, kind)
        weights = random_maps(seed + part, target)
        metric.update(weights, target)
        a, s, p = links_by_loop(weights, target)
        sizes += [len(a & s), len(a & p), len(a), len(s)]
    figures = metric.compute()
    assert figures["aer"] == pytest.approx(1 - (sizes[0] + sizes[1]) / (sizes[2] + sizes[3]))
    assert figures["alignment_precision"] == pytest.approx(sizes[1] / sizes[2])
    assert figures["alignment_recall"] == pytest.approx(sizes[0] / sizes[3])


def test_pooled_counts_are_not_the_mean_over_sentences():
    targets = [random_batch(seed, "sure_possible", examples=1) for seed in (1, 2)]
    maps = [random_maps(seed, target) for seed, target in zip((1, 2), targets, strict=True)]
    pooled = AlignmentErrorRate(Argmax(minimum=0.0))
    apart = []
    for weights, target in zip(maps, targets, strict=True):
        alone = AlignmentErrorRate(Argmax(minimum=0.0))
        alone.update(weights, target)
        pooled.update(weights, target)
        apart.append(alone.compute()["aer"])
    assert pooled.compute()["aer"] != pytest.approx(np.mean(apart))


def figures_of(weights, target):
    metric = AlignmentErrorRate(Argmax(minimum=0.0))
    metric.update(weights, target)
    return metric.compute()


def test_pieces_have_to_become_words_before_they_are_scored():
    """Three pieces of one wrong word are three errors of pieces, but one of words."""
    links = parse_pharaoh("0-0 1-1", index_base=0)
    words = alignment_target(links, sources=2, targets=2, keys="source")
    queries = Groups.of_pieces([0, 1, 1, 1], words=2)
    pieces = words.regroup_queries(queries)
    wrong = torch.tensor([[[1.0, 0.0]] * 4])  # every piece looks at the first word
    as_pieces = figures_of(wrong, collate_targets([pieces], 4, 2))
    carried = regroup_maps(wrong, [queries.reverse()], [Groups.same(2)])
    as_words = figures_of(carried, collate_targets([words], 2, 2))
    assert as_pieces["aer"] == pytest.approx(3 / 4)
    assert as_words["aer"] == pytest.approx(1 / 2)


def test_index_base_and_direction_change_the_figure():
    line, weights = "1-1 2-2 3-2", torch.eye(3)[None]
    target = alignment_target(parse_pharaoh(line, 1), 3, 3, keys="source")
    right = figures_of(weights, collate_targets([target], 3, 3))
    shifted = alignment_target(parse_pharaoh(line, 0), 4, 4, keys="source")
    wrong_base = figures_of(torch.eye(4)[None], collate_targets([shifted], 4, 4))
    turned = alignment_target(parse_pharaoh(line, 1), 3, 3, keys="target")
    other_side = figures_of(weights.flip(1), collate_targets([turned], 3, 3))
    assert right["aer"] == pytest.approx(1 - 4 / 6)
    assert wrong_base["aer"] == pytest.approx(1 - 4 / 7)
    assert other_side["aer"] != pytest.approx(right["aer"])


def marks(*pairs):
    made = torch.zeros(1, 5, 6, dtype=torch.bool)
    for query, key in pairs:
        made[0, query, key] = True
    return made
