"""Gold maps through words and pieces, patches, frames, crops and batches: nothing gets lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets, regroup_maps
from tests.maps import random_target

KINDS = ("hard", "soft", "sure_possible")


@st.composite
def targets(draw, kind: str | None = None) -> AttentionTarget:
    chosen = kind or draw(st.sampled_from(KINDS))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    target = random_target(random, chosen)
    return replace(
        target,
        # Rows that nobody annotated hold nothing, as readers write them.
        weights=target.weights * target.query_mask[:, None],
        possible=None if target.possible is None else target.possible * target.query_mask[:, None],
        annotators=(target.weights * target.query_mask[:, None],),
        points=np.floor(random.random(target.weights.shape) * 3).astype(np.float32)
        * target.query_mask[:, None],
    )


@st.composite
def pieces_of(draw, words: int) -> Groups:
    """Each word in one to four pieces, with special pieces strewn in."""
    ids: list[int | None] = []
    for word in range(words):
        ids += [None] * draw(st.integers(0, 1)) + [word] * draw(st.integers(1, 4))
    return Groups.of_pieces([*ids, None], words)


def assert_same(one: AttentionTarget, other: AttentionTarget) -> None:
    assert one.kind == other.kind
    assert one.weight == other.weight
    np.testing.assert_array_equal(one.query_mask, other.query_mask)
    np.testing.assert_array_equal(one.key_mask, other.key_mask)
    for first, second in zip(matrices(one), matrices(other), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)


def matrices(target: AttentionTarget) -> list[np.ndarray]:
    maybe = [target.weights, target.possible, target.points, *target.annotators]
    return [matrix for matrix in maybe if matrix is not None]


@given(st.data())
def test_words_to_pieces_and_back_on_both_sides_is_the_same_target(data):
    target = data.draw(targets())
    keys = data.draw(pieces_of(target.weights.shape[1]))
    queries = data.draw(pieces_of(target.weights.shape[0]))
    carried = target.regroup_keys(keys).regroup_queries(queries)
    assert carried.weights.shape == (len(queries), len(keys))
    back = carried.regroup_queries(queries.reverse()).regroup_keys(keys.reverse())
    assert_same(back, target)


@given(st.data())
def test_special_pieces_are_neither_annotated_nor_looked_at(data):
    target = data.draw(targets())
    queries = Groups.same(target.weights.shape[0]).with_ends(before=1, after=1)
    keys = Groups.same(target.weights.shape[1]).with_ends(before=1, after=1)
    carried = target.regroup_queries(queries).regroup_keys(keys)
    assert not carried.query_mask[[0, -1]].any()
    assert not carried.key_mask[[0, -1]].any()
    np.testing.assert_array_equal(carried.weights[1:-1, 1:-1], target.weights)
    back = carried.regroup_queries(queries.reverse()).regroup_keys(keys.reverse())
    assert_same(back, target)


@given(st.data())
def test_soft_mass_is_kept_through_any_regrouping_of_keys(data):
    target = data.draw(targets("soft"))
    keys = target.weights.shape[1]
    frames = Groups.of_frames(keys, window=data.draw(st.integers(2, 5)), hop=2)
    carried = target.regroup_keys(frames)
    np.testing.assert_allclose(carried.weights.sum(1), target.weights.sum(1), rtol=1e-5)
    assert carried.points is not None and target.points is not None
    np.testing.assert_allclose(carried.points.sum(1), target.points.sum(1), rtol=1e-5)


@given(st.data())
def test_characters_to_words_keep_every_mark(data):
    target = data.draw(targets("hard"))
    characters = target.weights.shape[1]
    cuts = sorted(data.draw(st.sets(st.integers(1, characters - 1), max_size=4)))
    edges = [0, *cuts, characters]
    spans = list(pairwise(edges))
    words = Groups.of_spans(spans, [(i, i + 1) for i in range(characters)])
    carried = target.regroup_keys(words)
    for w, (start, stop) in enumerate(spans):
        np.testing.assert_array_equal(
            carried.weights[:, w] > 0, (target.weights[:, start:stop] > 0).any(1)
        )


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99)
)
def test_patches_to_pixels_and_back(height, width, rows, columns, seed):
    patches = Groups.of_patches(height, width, (rows, columns))
    random = np.random.default_rng(seed)
    for kind in ("hard", "soft"):
        weights = random.random((1, len(patches)), np.float32)
        weights = (weights > 0.5).astype(np.float32) if kind == "hard" else weights
        on = np.ones(1, bool), np.ones(len(patches), bool)
        target = AttentionTarget(weights, *on, kind=kind)
        pixels = target.regroup_keys(patches.reverse())
        assert pixels.weights.shape == (1, height * width)
        assert_same(pixels.regroup_keys(patches), target)


def test_pixels_are_shared_out_by_the_patch_they_lie_in():
    image = np.zeros((4, 6), np.float32)
    image[1, 1], image[3, 5], image[2, 5] = 1, 2, 3
    on = np.ones(1, bool), np.ones(24, bool)
    target = AttentionTarget(image.reshape(1, -1), *on, kind="soft")
    patches = target.regroup_keys(Groups.of_patches(4, 6, (2, 3)))
    assert patches.weights.tolist() == [[1, 0, 0, 5]]


def test_samples_go_into_every_frame_that_hears_them():
    samples = np.array([[0, 0, 1, 0, 0, 0]], np.float32)
    target = AttentionTarget(samples, np.ones(1, bool), np.ones(6, bool))
    frames = Groups.of_frames(6, window=4, hop=2)
    assert target.regroup_keys(frames).weights.tolist() == [[1, 1, 0]]
    soft = replace(target, kind="soft").regroup_keys(frames)
    assert soft.weights.tolist() == [[0.5, 0.5, 0]]


@given(st.data())
def test_groups_one_after_the_other_are_groups_at_once(data):
    target = data.draw(targets("hard"))
    words = target.weights.shape[1]
    pieces = data.draw(pieces_of(words))
    pairs = Groups.of_frames(len(pieces), window=2, hop=2)
    stepwise = target.regroup_keys(pieces).regroup_keys(pairs)
    assert_same(
        replace(stepwise, points=None),
        replace(target.regroup_keys(pieces.then(pairs)), points=None),
    )


@given(st.data())
def test_predicted_piece_maps_become_word_maps_whose_rows_sum_to_one(data):
    target = data.draw(targets("soft"))
    queries = data.draw(pieces_of(target.weights.shape[0]))
    keys = data.draw(pieces_of(target.weights.shape[1]))
    carried = target.regroup_queries(queries).regroup_keys(keys)
    padded = collate_targets([carried], len(queries) + 2, len(keys) + 3)
    words = regroup_maps(padded.distribution(), [queries.reverse()], [keys.reverse()])
    np.testing.assert_allclose(words[0].numpy(), target.distribution(), rtol=1e-4, atol=1e-6)


@given(st.data())
def test_a_batch_holds_each_target_as_it_was(data):
    drawn = data.draw(st.lists(st.one_of(st.none(), targets()), min_size=1, max_size=5))
    batch = collate_targets(drawn, queries=7, keys=12)
    for i, target in enumerate(drawn):
        if target is None:
            assert not batch.query_mask[i].any()
            continue
        q, k = target.weights.shape
        np.testing.assert_array_equal(batch.weights[i, :q, :k], target.weights)
        np.testing.assert_array_equal(batch.query_mask[i, :q], target.query_mask)
        np.testing.assert_array_equal(batch.key_mask[i, :k], target.key_mask)
        if target.possible is not None:
            assert batch.possible is not None
            np.testing.assert_array_equal(batch.possible[i, :q, :k], target.possible)
        if target.points is not None:
            assert batch.points is not None
            np.testing.assert_array_equal(batch.points[i, :q, :k], target.points)
        assert not batch.weights[i, q:].any() and not batch.weights[i, :, k:].any()
        assert not batch.query_mask[i, q:].any() and not batch.key_mask[i, k:].any()


def test_examples_without_possible_links_take_their_sure_ones():
    sure = AttentionTarget(np.eye(2, dtype=np.float32), np.ones(2, bool), np.ones(2, bool))
    both = replace(sure, kind="sure_possible", possible=np.ones((2, 2), np.float32))
    batch = collate_targets([sure, both], 2, 2)
    assert batch.marks().tolist() == [np.eye(2).astype(bool).tolist(), [[True] * 2] * 2]


def test_a_target_that_does_not_fit_is_refused():
    target = AttentionTarget(np.eye(3, dtype=np.float32), np.ones(3, bool), np.ones(3, bool))
    with pytest.raises(ValueError, match="3 x 3 does not fit into 2 x 3"):
        collate_targets([target], 2, 3)


def test_batches_move_pick_and_withhold():
    target = AttentionTarget(np.eye(3, dtype=np.float32), np.ones(3, bool), np.ones(3, bool))
    batch = collate_targets([target, target.without(), None], 3, 3)
    assert batch.rows().sum(-1).tolist() == [3, 0, 0]
    assert batch.row_mask.sum(-1).tolist() == [3, 3, 0]
    assert torch.equal(batch.select(slice(1, 3)).query_mask, batch.query_mask[1:3])
    assert batch.to("meta").weights.device.type == "meta"


@given(st.data())
def test_shuffled_gold_is_wrong_but_of_the_same_make(data):
    target = data.draw(targets())
    wrong = target.shuffled(np.random.default_rng(data.draw(st.integers(0, 99))))
    for right, shuffled in zip(matrices(target), matrices(wrong), strict=True):
        kept = target.key_mask
        np.testing.assert_array_equal(np.sort(right[:, kept]), np.sort(shuffled[:, kept]))
        np.testing.assert_array_equal(right[:, ~kept], shuffled[:, ~kept])
    order = np.arange(9.0, dtype=np.float32)[None]
    many = AttentionTarget(order, np.ones(1, bool), np.ones(9, bool), kind="soft")
    assert not np.array_equal(many.shuffled(np.random.default_rng(0)).weights, order)


def test_a_batch_without_gold_holds_one_zero_in_place_of_maps() -> None:
    made = collate_targets([None, None], 3, 4, [(3, 4), (2, 2)])
    assert made.weights.shape == (2, 3, 4) and not made.weights.any()
    assert made.weights.untyped_storage().nbytes() == 4
    moved = made.to("meta")
    assert moved.weights.shape == (2, 3, 4) and moved.weights.untyped_storage().nbytes() == 4
    some = made.select(torch.tensor([1, 0, 1]))
    assert some.weights.shape == (3, 3, 4) and some.weights.untyped_storage().nbytes() == 4
    assert not made.rows().any() and made.row_mask.sum() == 5
