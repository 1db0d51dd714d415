"""Recommenders without a model, on histories small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.metrics.item_controls import ItemNeighbours, Markov, Popularity

HISTORIES = [[0, 1, 2], [0, 1, 3], [3, 0, 2], [1, 2]]


def test_popularity_counts_choices() -> None:
    assert Popularity(HISTORIES, 5).scores([0]).tolist() == [3, 3, 3, 2, 0]


def test_markov_counts_what_came_right_after_and_breaks_ties_by_popularity() -> None:
    scores = Markov(HISTORIES, 5).scores([3, 0])
    assert scores.argsort()[::-1][:2].tolist() == [1, 2]
    assert np.floor(scores).tolist() == [0, 2, 1, 0, 0]
    unseen = Markov(HISTORIES, 5).scores([4])
    assert unseen[3] < unseen[0] < 1, "nothing ever came after item 4: popularity alone"


def test_neighbours_are_those_that_the_same_people_chose() -> None:
    control = ItemNeighbours(HISTORIES, 5, nearest=5)
    # 0 and 1 were chosen together by two of the three who chose either.
    assert control.scores([0])[1] == pytest.approx(2 / 3)
    assert control.scores([0])[0] == 0, "no item is its own neighbour"
    both = control.scores([0, 1])
    np.testing.assert_allclose(both, control.scores([0]) + control.scores([1]))
    last = ItemNeighbours(HISTORIES, 5, nearest=5, latest=1)
    np.testing.assert_allclose(last.scores([0, 1]), control.scores([1]))
    few = ItemNeighbours(HISTORIES, 5, nearest=1)
    assert few.scores([0, 1, 2, 3])[4] == 0
    assert (few.likeness > 0).sum() < (control.likeness > 0).sum()
