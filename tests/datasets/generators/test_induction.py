"""Induction: gold marks every earlier place of a value behind the same key, and nothing else."""

from __future__ import annotations

import itertools


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
