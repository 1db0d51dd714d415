"""Recall: the value pointed to stands beside the key that is asked for, and nowhere else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from attnlab.datasets.generators.recall import Recall


@settings(max_examples=60, deadline=None)
@given(pairs=st.integers(1, 12), spare=st.integers(0, 30), seed=st.integers(0, 1000))
def test_the_value_stands_beside_its_key(pairs, spare, seed):
    length = 2 * pairs + 2 + spare
    made = Recall(
        train=1, val=1, test=1, seed=seed, length=length, pairs=pairs, keys=40, values=5, fillers=3
    )
    for split in ("train", "val", "test"):
        (example,) = made.examples(split)
        symbols = example.inputs["text"]
        assert len(symbols) == length
        assert symbols[-2] == "?"
        (place,) = example.target.weights[0].nonzero()[0]
        assert symbols[place] == example.answer
        assert symbols[place - 1] == symbols[-1] == example.meta["key"]
        assert symbols[:-1].count(symbols[-1]) == 1
        assert sum(symbol.startswith("v") for symbol in symbols) == pairs
        assert example.meta["distance"] == length - 1 - place


def test_values_are_found_everywhere(generator):
    made = generator("recall", train=2000, length=64, pairs=8)
    places = [e.target.weights[0].argmax() for e in made.examples("train")]
    assert min(places) < 4
    assert max(places) > 58


def test_more_pairs_than_fit_are_refused(generator):
    with pytest.raises(ValidationError, match="16 pairs need a length of 34 or more"):
        generator("recall", length=33)
    with pytest.raises(ValidationError, match="65 pairs need as many keys"):
        generator("recall", pairs=65)


def test_gold_is_what_followed_the_key_before(generator):
    predictable = 0
    for example in generator("induction", train=100).examples("train"):
        units, gold = example.inputs["text"], example.target.weights
        assert len(units) == 64
        assert example.answer is None
        for place, unit in enumerate(units):
            before = [
                i for i in range(1, place)
                if units[i - 1] == units[place - 1] and unit.startswith("v")
            ]  # fmt: skip
            assert gold[place].nonzero()[0].tolist() == before
            assert example.target.query_mask[place] == bool(before)
            assert all(units[i] == unit for i in before)  # a key keeps its value in a text
        predictable += len(example.meta["predictable"])
    assert predictable > 500


def test_a_key_has_other_values_in_other_texts(generator):
    values = set()
    for example in generator("induction", train=100).examples("train"):
        units = example.inputs["text"]
        values |= {b for a, b in itertools.pairwise(units) if a == "k0"}
    assert len(values) > 10
