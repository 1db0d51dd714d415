"""Reading links off two maps."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.alignment.config import Symmetrised
from attnlab.alignment.links import Maps

MAPS = Maps(
    forward=np.array([[0.9, 0.2, 0.0], [0.0, 0.7, 0.9]]),
    backward=np.array([[0.9, 0.1, 0.0], [0.0, 0.4, 0.6]]),
)


@pytest.mark.parametrize(
    ("how", "links"),
    [
        ("intersection", {(0, 0), (1, 2)}),
        ("union", {(0, 0), (1, 1), (1, 2)}),
        ("grow-diag", {(0, 0), (1, 1), (1, 2)}),
        ("grow-diag-final-and", {(0, 0), (1, 1), (1, 2)}),
        ("agreement", {(0, 0), (1, 1), (1, 2)}),  # the root of 0.7 x 0.4 is 0.53
    ],
)
def test_each_way(how: Symmetrised, links: set[tuple[int, int]]) -> None:
    assert MAPS.links(how, 0.5) == links


def test_the_threshold_moves_agreement_alone() -> None:
    assert MAPS.links("agreement", 0.6) == {(0, 0), (1, 2)}
    assert MAPS.directed() == ({(0, 0), (1, 1), (1, 2)}, {(0, 0), (1, 2)})
    for how in ("intersection", "union", "grow-diag", "grow-diag-final-and"):
        assert MAPS.links(how, 0.8) == MAPS.links(how, 0.5)


def test_an_empty_sentence_has_no_links() -> None:
    assert Maps.nothing(0, 3).links("agreement", 0.5) == frozenset()
