"""Symmetrised alignments, against examples worked out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnlab.datasets.targets import (
    HEURISTICS,
    Links,
    grow_diag,
    grow_diag_final_and,
    intersection,
    parse_pharaoh,
    pharaoh,
    union,
)


def links(line: str) -> Links:
    return parse_pharaoh(line, 0).sure


# Both say 0-0 and 2-2. Of the others
#   1-1 stands beside 0-0, and neither of its words has a link yet: grown;
#   1-2 stands beside 2-2, but by then both of its words have one: left out;
#   3-2 stands beside 2-2, and word 3 of the source has no link: grown;
#   5-4 stands beside nothing, and neither of its words has a link: the final step takes it;
#   5-0 stands beside nothing, and word 0 of the target has a link: left out.
FORWARD = "0-0 1-1 1-2 2-2 5-4"
BACKWARD = "0-0 2-2 3-2 5-0"


def test_worked_by_hand() -> None:
    forward, backward = links(FORWARD), links(BACKWARD)
    assert pharaoh(intersection(forward, backward)) == "0-0 2-2"
    assert pharaoh(union(forward, backward)) == "0-0 1-1 1-2 2-2 3-2 5-0 5-4"
    assert pharaoh(grow_diag(forward, backward)) == "0-0 1-1 2-2 3-2"
    assert pharaoh(grow_diag_final_and(forward, backward)) == "0-0 1-1 2-2 3-2 5-4"


def test_growth_goes_on_from_what_was_grown() -> None:
    """0-0 draws in 1-1, that draws in 2-2, and so on to the end of the diagonal."""
    chain = links("0-0 1-1 2-2 3-3 4-4")
    assert grow_diag(links("0-0"), chain) == chain


def test_a_phrase_of_several_words_is_linked_to_one() -> None:
    """Neighbours in a row: each gives one more word of the source its first link."""
    assert pharaoh(grow_diag(links("1-0"), links("0-0 1-0 2-0 3-0"))) == "0-0 1-0 2-0 3-0"


def test_the_final_step_takes_forward_links_first() -> None:
    """0-3 and 0-5 want the same word of the source; nothing is common, so nothing grows."""
    assert pharaoh(grow_diag_final_and(links("0-3"), links("0-5"))) == "0-3"
    assert pharaoh(grow_diag_final_and(links("0-5"), links("0-3"))) == "0-5"


ALIGNMENTS = st.frozensets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=15)


@given(forward=ALIGNMENTS, backward=ALIGNMENTS)
def test_each_holds_the_one_before(forward: Links, backward: Links) -> None:
    common, grown, final, every = (
        HEURISTICS[name](forward, backward)
        for name in ("intersection", "grow-diag", "grow-diag-final-and", "union")
    )
    assert common <= grown <= final <= every


@given(forward=ALIGNMENTS, backward=ALIGNMENTS)
def test_what_was_grown_gave_a_word_its_first_link(forward: Links, backward: Links) -> None:
    """No word with a link in the intersection loses it; no link could still be grown."""
    grown = grow_diag(forward, backward)
    sources, targets = {s for s, _ in grown}, {t for _, t in grown}
    for s, t in (forward | backward) - grown:
        beside = any((s + i, t + j) in grown for i in (-1, 0, 1) for j in (-1, 0, 1))
        assert not beside or (s in sources and t in targets)


@given(alignment=ALIGNMENTS)
def test_two_that_agree_stay_what_they_are(alignment: Links) -> None:
    for symmetrise in HEURISTICS.values():
        assert symmetrise(alignment, alignment) == alignment
    assert links(pharaoh(alignment)) == alignment
