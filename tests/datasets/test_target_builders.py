"""Every kind of annotation becomes the target that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from attnlab.datasets.targets import (
    alignment_target,
    box_target,
    fixation_target,
    mask_target,
    parse_pharaoh,
    score_target,
    span_target,
)

HANSARDS = Path(__file__).parents[3] / "shared" / "data" / "hansards_align"


def test_pharaoh_lines_give_sure_and_possible_links_from_either_base():
    links = parse_pharaoh("0-0 1p2 2?1", index_base=0)
    assert links.sure == {(0, 0)}
    assert links.possible == {(0, 0), (1, 2), (2, 1)}
    assert parse_pharaoh("1-1 2p3 3?2", index_base=1) == links


@pytest.mark.parametrize(
    ("line", "base", "complaint"),
    [("0-", 0, "'0-' is not a link"), ("a-b", 0, "not a link"), ("0-1", 1, "counts from 0")],
)
def test_what_is_no_link_is_named(line, base, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_pharaoh(line, base)


def test_alignments_turn_with_the_side_that_is_looked_at():
    links = parse_pharaoh("0-1 1p0", index_base=0)
    at_source = alignment_target(links, sources=2, targets=3, keys="source")
    assert at_source.weights.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert at_source.possible is not None
    assert at_source.possible.tolist() == [[0, 1], [1, 0], [0, 0]]
    at_target = alignment_target(links, sources=2, targets=3, keys="target")
    assert at_target.weights.tolist() == at_source.weights.T.tolist()
    with pytest.raises(ValueError, match="link 0-1 is outside of 2 x 1"):
        alignment_target(links, sources=2, targets=1, keys="source")


@pytest.mark.skipif(not HANSARDS.is_dir(), reason="no Hansards beside the project")
def test_hand_aligned_hansards_lie_inside_their_sentences():
    sides = [(HANSARDS / f"test.{side}").read_text().splitlines() for side in ("en", "fr", "align")]
    rows = list(zip(*sides, strict=True))
    assert len(rows) == 447
    for english, french, line in rows:
        sizes = len(english.split()), len(french.split())
        target = alignment_target(parse_pharaoh(line, 0), *sizes, keys="source")
        assert target.possible is not None
        assert (target.weights <= target.possible).all()
        assert target.possible.any()


def test_spans_mark_their_units_and_unannotated_rows_stay_apart_from_empty_ones():
    target = span_target([[(0, 2), (3, 4)], [], None], keys=5)
    assert target.weights.tolist() == [[1, 1, 0, 1, 0], [0] * 5, [0] * 5]
    assert target.query_mask.tolist() == [True, True, False]
    with pytest.raises(ValueError, match="span 4:6"):
        span_target([[(4, 6)]], keys=5)


def test_scores_are_shares_and_slow_readers_do_not_count_more():
    target = score_target([[1, 3, 0], [30, 10, 0], [0, 0, 0]])  # the third one read nothing
    assert target.weights.tolist() == [[0.5, 0.5, 0.0]]
    assert len(target.annotators) == 3
    assert target.kind == "soft"
    assert not score_target([0.0, 0.0]).query_mask.any()
    with pytest.raises(ValueError, match="not negative"):
        score_target([1.0, -1.0])


def test_boxes_and_masks_mark_their_pixels():
    target = box_target([[(1, 0, 3, 2)], None], height=3, width=4)
    grid = target.weights[0].reshape(3, 4)
    assert grid.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert target.query_mask.tolist() == [True, False]
    again = mask_target(grid[None] > 0)
    assert again.weights.tolist() == target.weights[:1].tolist()


def test_fixations_are_counted_kept_and_blurred():
    observers = [[[5.2, 3.9], [5.9, 3.1]], [[1.0, 1.0], [99.0, 3.0]]]
    target = fixation_target(observers, height=16, width=20, sigma=1.5)
    assert target.points is not None
    counts = target.points.reshape(16, 20)
    assert counts[3, 5] == 2
    assert counts[1, 1] == 1
    assert counts.sum() == 3  # the one beyond the image is gone
    expected = gaussian_filter(counts, 1.5, mode="constant", truncate=8.0)
    blurred = target.weights.reshape(16, 20)
    np.testing.assert_allclose(blurred, expected / expected.sum(), atol=1e-6)
    together = sum(target.annotators)
    np.testing.assert_allclose(together.reshape(16, 20), expected, atol=1e-6)
