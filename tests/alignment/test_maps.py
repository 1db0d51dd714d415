"""Links of both directions as one, and which way the chances themselves expect to be best."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.alignment.maps import Maps, expected_f1


def of(forward: list[list[float]], backward: list[list[float]]) -> Maps:
    return Maps(np.array(forward, np.float32), np.array(backward, np.float32))


def test_what_the_mean_links_and_agreement_does_not() -> None:
    maps = of([[0.99, 0.0], [0.0, 0.3]], [[0.1, 0.0], [0.0, 0.4]])
    assert maps.links("mean", 0.5) == {(0, 0)}
    assert maps.links("agreement", 0.5) == frozenset()
    assert maps.links("agreement", 0.3) == {(0, 0), (1, 1)}


def test_expected_f1_is_that_of_links_drawn_by_their_chances() -> None:
    maps = of([[0.8, 0.1]], [[0.6, 0.3]])  # means .7 and .2
    assert expected_f1([maps], 0.5)["intersection"] == pytest.approx(2 * 0.7 / (1 + 0.9))


def test_directions_that_seldom_agree_are_united() -> None:
    """One is sure of a link, the other gives it a third: leaving it out loses more."""
    unlike = [of([[0.9, 0.0], [0.0, 0.35]], [[0.35, 0.0], [0.0, 0.9]])] * 3
    expected = expected_f1(unlike, 0.7)
    assert max(expected, key=expected.__getitem__) == "union"
    noisy = [of([[0.9, 0.6], [0.6, 0.9]], [[0.9, 0.05], [0.05, 0.9]])] * 3
    assert expected_f1(noisy, 0.5)["intersection"] > expected_f1(noisy, 0.5)["union"]


def test_without_words_nothing_is_expected() -> None:
    assert set(expected_f1([Maps.nothing(0, 3)], 0.5).values()) == {0.0}
    assert set(expected_f1([], 0.5).values()) == {0.0}
