"""Words to units and back, and gold maps both ways."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.data.codec import Codec
from attnlab.data.example import ANSWER, Example
from attnlab.data.loader import VariedItems
from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import regroup_maps
from attnlab.data.tokenizers import (
    Bpe,
    Characters,
    Unigram,
    VariedPieces,
    Words,
    vocabulary_of,
)
from attnlab.data.vocabulary import EOS, SPECIAL, UNKNOWN, Vocabulary, WordVectors
from tests.forms import fitted

TEXTS = [
    line.split()
    for line in (
        "the lowest houses are lower than the low tower",
        "newer towers are newest , wider houses are widest",
        "a house of towers , the widest of the low houses",
    )
] * 5
TOKENIZERS = {
    "words": Words(size=None, at_least=1, digits=True, letters=False),
    "letters": Words(size=None, at_least=1, digits=True, letters=True),
    "characters": Characters(at_least=1),
    "bpe": Bpe(size=60, at_least=2, dropout=0.0),
    "varied": Bpe(size=60, at_least=2, dropout=0.3),
    "unigram": Unigram(size=60),
}


@pytest.fixture(params=TOKENIZERS)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return TOKENIZERS[request.param].fit(TEXTS)


def test_texts_come_back(vocabulary: Vocabulary) -> None:
    for text in TEXTS[:3]:
        assert vocabulary.decode([*vocabulary.encode(text), EOS]) == text
    assert vocabulary.units[: len(SPECIAL)] == list(SPECIAL)
    assert vocabulary.joint == " "


def test_saved_it_is_the_same(vocabulary: Vocabulary) -> None:
    again = vocabulary_of(json.loads(json.dumps(vocabulary.describe())))
    assert again.units == vocabulary.units
    unseen = ["lowhouse", "zzz", "Ω", "</s>"]
    assert again.encode(unseen) == vocabulary.encode(unseen)


def test_numbers_may_be_known_by_their_form() -> None:
    texts = [["flight", "382", "at", "10am"], ["flight", "dc9"]]
    vocabulary = Words(size=None, at_least=1, digits=False, letters=False).fit(texts)
    again = vocabulary_of(json.loads(json.dumps(vocabulary.describe())))
    for each in (vocabulary, again):
        assert each.encode(["517", "99am", "dc8"]) == each.encode(["382", "10am", "dc9"])
        assert each.encode(["5170"]) == [UNKNOWN]
        assert "000" in each.units and "382" not in each.units


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_unseen_words_are_told_apart_by_their_letters(one: str, other: str) -> None:
    words = TOKENIZERS["letters"].fit(TEXTS)
    (first,), (second,) = words.encode([one]), words.encode([other])
    for word, number in ((one, first), (other, second)):
        assert (number >= len(words)) == (word not in words.words)
        assert number < 2**62  # room below the largest integer
    plain = one.isascii() and other.isascii() and one.isalpha() and other.isalpha()
    if plain and max(len(one), len(other)) <= 8 and one != other:
        assert first != second
    assert words.decode([first, EOS]) == ([one] if one in words.words else [])


def test_word_vectors_leave_a_vocabulary_of_its_kind() -> None:
    words = TOKENIZERS["letters"].fit(TEXTS)
    known = words.with_vectors(WordVectors(["the", "castle"], np.ones((2, 3), np.float32)))
    assert known.encode(["castle"])[0] < len(known) <= known.encode(["moat"])[0]


@pytest.mark.parametrize("name", ["words", "letters", "characters", "bpe", "varied"])
def test_trained_twice_it_is_the_same(name: str) -> None:
    one, other = (TOKENIZERS[name].fit(TEXTS).describe() for _ in range(2))
    assert one == other


def test_pieces_are_fewer_than_asked_and_really_pieces() -> None:
    for name in ("bpe", "unigram"):
        vocabulary = TOKENIZERS[name].fit(TEXTS)
        assert len(vocabulary) <= 60
        assert len(vocabulary.encode(["lowhouses"])) > 1
        assert UNKNOWN not in vocabulary.encode(["lowhouses"])


def varied(dropout: float) -> VariedPieces:
    pieces = Bpe(size=60, at_least=2, dropout=dropout or 0.5).fit(TEXTS)
    assert isinstance(pieces, VariedPieces)
    pieces.dropout = dropout
    return pieces


@pytest.mark.parametrize("word", ["lowest", "houses", "widestΩ", "a", "newertowers"])
def test_with_no_merge_left_out_words_are_spelled_as_the_library_does(word: str) -> None:
    pieces = varied(0.0)
    assert pieces.ways(word) == [pieces.encode([word])] * pieces.WAYS


def test_merges_are_left_out_as_often_as_asked() -> None:
    """In a chain of one merge after the other, the first goes missing in a share of the ways."""
    model = {"merges": [["l", "o"], ["lo", "w"]]}
    pieces = VariedPieces([*SPECIAL, "low"], list, model, 0.3)
    drawn = [pieces.merged("low", Random(i)) for i in range(4000)]
    assert sum(way[1] == "l" for way in drawn) / 4000 == pytest.approx(0.3, abs=0.03)
    assert sum(way[1] == "low" for way in drawn) / 4000 == pytest.approx(0.49, abs=0.03)


def test_training_meets_words_in_other_pieces() -> None:
    pieces, text = varied(0.5), ["lowest", "houses", "lowest"]
    seen = set()
    for i in range(20):
        met = pieces.varied(Random(i))
        numbers = met.encode(text)
        assert numbers == pieces.varied(Random(i)).encode(text), "the same for the same draw"
        assert pieces.decode([*numbers, EOS]) == text
        groups = met.groups(text)
        assert len(groups) == len(numbers)
        first, last = (
            [n for n, (w,) in zip(numbers, groups.members, strict=True) if w == place]
            for place in (0, 2)
        )
        assert first == last, "a word is the same throughout an example"
        seen.add(tuple(numbers))
    assert len(seen) > 5
    assert pieces.encode(text) == TOKENIZERS["bpe"].fit(TEXTS).encode(text), "else as ever"


def test_items_vary_by_epoch_and_place_and_nothing_else() -> None:
    vocabulary, example = varied(0.5), links_example()
    codec = fitted([example], {"text": vocabulary, ANSWER: vocabulary})
    assert codec.varies
    items, again = (VariedItems([example] * 5, codec, seed=3) for _ in range(2))
    epochs = []
    for epoch in range(4):
        items.begin(epoch)
        epochs.append([items[place].answer.tolist() for place in range(5)])
    again.begin(2)
    assert [again[place].answer.tolist() for place in (4, 1)] == [epochs[2][4], epochs[2][1]]
    assert len({tuple(answer) for epoch in epochs for answer in epoch}) > 5
    item = items[0]
    assert item.target is not None
    assert item.target.weights.shape[1] == item.keys == len(item.inputs["text"])
    assert (
        items.sizes.tolist()
        == [[items.codec.encode(example, 0).keys, len(codec.encode(example, 0).answer)]] * 5
    )


def test_a_text_cannot_spell_special_units(vocabulary: Vocabulary) -> None:
    numbers = vocabulary.encode(["</s>", "<pad>", "low"])
    assert EOS not in numbers
    assert 0 not in numbers


def test_size_and_frequency_of_words() -> None:
    assert len(Words(size=10, at_least=1, digits=True, letters=False).fit(TEXTS)) == 10
    often = Words(size=None, at_least=6, digits=True, letters=False).fit(TEXTS)
    assert often.encode(["than"]) == [UNKNOWN]


def test_every_word_has_its_units(vocabulary: Vocabulary) -> None:
    text = ["lowest", "Ω", "</s>", "houses"]
    groups = vocabulary.groups(text)
    assert len(groups) == len(vocabulary.encode(text))
    assert all(len(word) == 1 for word in groups.members)
    assert all(groups.reverse().members), "no word without a unit"
    for i, word in enumerate(text):
        first, *_, last = [u for u, (w,) in enumerate(groups.members) if w == i] * 2
        assert vocabulary.encode(text)[first : last + 1] == vocabulary.encode([word])


WORDS = st.lists(
    st.sampled_from(["low", "lowest", "houses", "Ω", "wwidest", "a"]), min_size=1, max_size=6
)


@settings(max_examples=30)
@given(source=WORDS, answer=WORDS, seed=st.integers(0, 99))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_maps_over_words_survive_the_way_through_units(
    name: str, source: list[str], answer: list[str], seed: int
) -> None:
    """Marks stay marks, and mass keeps its word, there and back, for keys and queries."""
    random = np.random.default_rng(seed)
    vocabulary = TOKENIZERS[name].fit(TEXTS)
    keys, queries = vocabulary.groups(source), vocabulary.groups(answer)
    shape = len(answer), len(source)
    marks = (random.random(shape) < 0.4).astype(np.float32)
    masks = np.ones(shape[0], bool), np.ones(shape[1], bool)
    hard = AttentionTarget(marks, *masks)
    there = hard.regroup_keys(keys).regroup_queries(queries)
    back = there.regroup_keys(keys.reverse()).regroup_queries(queries.reverse())
    np.testing.assert_array_equal(back.weights, marks)

    soft = AttentionTarget(marks + 0.1, *masks, kind="soft").soft()
    there = soft.regroup_keys(keys).regroup_queries(queries)
    np.testing.assert_allclose(there.weights.sum(1), 1, rtol=1e-5)
    predicted = torch.from_numpy(there.weights)[None]
    (again,) = regroup_maps(predicted, [queries.reverse()], [keys.reverse()])
    np.testing.assert_allclose(again, soft.weights, rtol=1e-5, atol=1e-7)


def links_example() -> Example:
    weights = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    target = AttentionTarget(weights, np.ones(3, bool), np.ones(2, bool))
    return Example("a", {"text": ["lowest", "towers"]}, ["a", "lower", "houses"], target)


def test_the_codec_brings_gold_to_units_on_both_sides(tmp_path: Path) -> None:
    vocabulary, example = TOKENIZERS["characters"].fit(TEXTS), links_example()
    codec = fitted([example], {"text": vocabulary, ANSWER: vocabulary})
    codec.save(tmp_path)
    item = Codec.load(tmp_path).encode(example, 0)
    assert (item.queries, item.keys) == (2 + 6 + 7 + 1, 7 + 7)  # a mark each, and the end
    assert item.target is not None
    expected = np.zeros((15, 14), np.float32)
    expected[:2, :7] = 1
    expected[2:, 7:] = 1
    np.testing.assert_array_equal(item.target.weights, expected)
    assert codec.text(item.answer.tolist()) == "a lower houses"


def test_a_map_over_units_is_shown_over_words() -> None:
    vocabulary, example = TOKENIZERS["characters"].fit(TEXTS), links_example()
    codec = fitted([example], {"text": vocabulary, ANSWER: vocabulary})
    target = codec.encode(example, 0).target
    assert target is not None and example.target is not None
    over_words = codec.over_words(example, target.distribution())
    np.testing.assert_allclose(over_words, example.target.weights, rtol=1e-6)
