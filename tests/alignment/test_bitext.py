"""Groups and pair numbers: no word is lost or mixed up on the way into arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnlab.alignment.bitext import Bitext, PairTable

SENTENCE = st.lists(st.sampled_from("abcdefg"), max_size=9)


@given(pairs=st.lists(st.tuples(SENTENCE, SENTENCE), max_size=12))
def test_groups_hold_every_pair_with_words_once(pairs: list[tuple[list[str], list[str]]]) -> None:
    text = Bitext.of([s for s, _ in pairs], [t for _, t in pairs], longest=7)
    table = PairTable.of(text.groups(), len(text.words[1]))
    seen = []
    for bare in text.groups():
        group = table.with_cells(bare)
        for i, row in enumerate(group.rows):
            source, target = pairs[row]
            rows, columns = group.source_lengths[i], group.target_lengths[i]
            assert (rows, columns) == (len(source), len(target))
            cells = group.cells[i, :rows, :columns]
            assert [text.words[0].words[w - 1] for w in group.source[i, :rows]] == source
            assert (table.sources[cells] == text.sources[row][:, None]).all()
            assert (table.targets[cells] == text.targets[row][None]).all()
            assert (group.cells[i, rows:] == table.none).all()
            assert (group.cells[i, :, columns:] == table.none).all()
            seen.append(row)
    assert sorted(seen) == [
        i for i, (s, t) in enumerate(pairs) if s and t and max(len(s), len(t)) < 8
    ]


def test_known_words_keep_their_numbers() -> None:
    first = Bitext.of([["a", "b"]], [["x"]], 250)
    more = Bitext.of([["c", "a"]], [["y", "x"]], 250, first.words)
    assert more.words[0].words == ["a", "b", "c"]
    assert more.sources[0].tolist() == [3, 1]


def test_pairs_never_met_have_no_number() -> None:
    text = Bitext.of([["a", "b"]], [["x", "y"]], 250)
    table = PairTable.of(text.groups(), len(text.words[1]))
    a_x, a_new, new_x = (1, 1), (1, 3), (3, 1)
    sources, targets = np.array([a_x, a_new, new_x], np.int32).T
    assert table.numbers(sources, targets).tolist() == [0, table.none, table.none]


def test_occurrences_are_counted() -> None:
    text = Bitext.of([["a", "b", "a"], []], [["x"], ["x"]], 250)
    assert text.occurrences()[0].tolist() == [0, 2, 1]
    assert text.occurrences()[1].tolist() == [0, 2]
