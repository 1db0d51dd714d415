"""Alignment error rate against the definition over sets of links."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.data.groups import Groups
from attnlab.data.target_batch import collate_targets, regroup_maps
from attnlab.datasets.targets.alignments import alignment_target, parse_pharaoh
from attnlab.metrics.alignment import AlignmentErrorRate
from attnlab.metrics.links import Argmax
from tests.maps import random_batch, random_maps


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
