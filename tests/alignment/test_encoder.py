"""Links of similarities; `tests/stages/test_align.py` has a whole encoder."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.alignment.encoder import iterated, transport


def test_words_that_are_each_others_most_alike_come_first() -> None:
    likeness = np.array([[0.9, 0.8, 0.1], [0.7, 0.5, 0.0], [0.0, 0.3, 0.2]], np.float32)
    once = iterated(likeness, 1)
    assert np.argwhere(once).tolist() == [[0, 0]]
    assert np.argwhere(iterated(likeness, 2)).tolist() == [[0, 0], [0, 1], [1, 0]]
    assert (iterated(likeness, 5) >= once).all()


def test_a_word_with_links_on_both_sides_gets_no_more() -> None:
    assert iterated(np.eye(3, dtype=np.float32), 4).tolist() == np.eye(3).tolist()


def test_transport_moves_all_mass_and_prefers_what_is_alike() -> None:
    plan = transport(np.array([[0.9, 0.1], [0.2, 0.7], [0.8, 0.1]], np.float32))
    assert plan.sum(0) == pytest.approx([0.5, 0.5], abs=1e-4)
    assert plan.sum(1) == pytest.approx([1 / 3] * 3, abs=1e-2)
    assert (plan.argmax(1) == [0, 1, 0]).all()
