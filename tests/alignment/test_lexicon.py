"""From counts to chances, and what spelling and stems add to them."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.alignment.bitext import Bitext, PairTable
from attnlab.alignment.lexicon import (
    Beliefs,
    Spellings,
    Stems,
    most_likely,
    stem_numbers,
    variational,
)


def test_chances_of_a_making_word_sum_to_one() -> None:
    making = np.array([1, 1, 2])
    stems = Stems.of(making, np.array([0, 1, 2, 3]), np.array([1, 2, 3]), np.ones(4))
    beliefs = Beliefs(making, 3, np.full(3, 0.5), stems, stem_weight=0.0, smoothing=0.5)
    made = beliefs.lexicon(np.array([3.0, 0.0, 7.0]), np.array([0.0, 1, 1, 0]), most_likely)
    np.testing.assert_allclose(made.pairs, [3.5 / 4, 0.5 / 4, 1, 0])
    assert made.none.sum() == pytest.approx(1)
    assert made.totals.tolist() == [0, 4, 7.5]


def test_a_small_count_gives_less_than_its_share() -> None:
    counts = np.array([0.1, 1.0, 100.0])
    totals = np.full(3, 101.1)
    shares = variational(counts, totals) / most_likely(counts, totals)
    assert shares[0] < 0.01 < shares[1] < 0.6
    assert shares[2] == pytest.approx(1, abs=0.01)


def test_stems_hand_out_what_their_other_words_counted() -> None:
    """`parle` was seen with speak, `parlons` never: half of the stem's share goes to each."""
    text = Bitext.of([["speak"], ["speaks"]], [["parle"], ["parlons"]], 250)
    pairs = PairTable.of(text.groups(), len(text.words[1]))
    stems = [stem_numbers(words.words, 4) for words in text.words]
    shared = Stems.of(stems[0][pairs.sources], stems[1], pairs.targets, text.occurrences()[1])
    np.testing.assert_allclose(shared.chances(np.array([1.0, 0.0])), [0.5, 0.5])


def test_words_with_the_same_first_letters_have_one_stem() -> None:
    assert stem_numbers(["walk", "walks", "wall", "walking"], 4).tolist() == [0, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("source", "target", "share"),
    [
        ("1997", "1997", 1),
        ("government", "gouvernement", 0),  # `go` is 2 of 12 letters
        ("commission", "commissions", 10 / 11),
        ("national", "nationale", 8 / 9),
        ("the", "de", 0),
        ("x", "extra", 0),
    ],
)
def test_words_written_alike(source: str, target: str, share: float) -> None:
    one = np.array([1])
    assert Spellings([source], [target]).likeness(one, one)[0] == pytest.approx(share)


def test_unknown_words_are_like_nothing() -> None:
    unknown = np.array([0])
    assert Spellings(["a"], ["a"]).likeness(unknown, unknown)[0] == 0
