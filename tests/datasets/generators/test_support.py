"""Talks with customer service: what the reply says stands in the talk, where gold says."""

from __future__ import annotations

import pytest

from attnlab.data.example import Example
from attnlab.datasets.generators.support import ITEMS


@pytest.fixture(scope="module")
def examples(generator) -> list[Example]:
    return list(generator("support", train=400).examples("train"))


def named(example: Example) -> dict[str, set[str]]:
    """Words of the talk that gold names for each word of the reply."""
    talk, reply, target = example.inputs["text"], example.answer, example.target
    rows = zip(reply, target.weights, target.query_mask, strict=True)
    return {w: {talk[k] for k in row.nonzero()[0]} for w, row, counts in rows if counts}


def test_what_is_copied_is_marked_where_it_stands(examples):
    for example in examples:
        copied = [w for w in example.answer if w.isdigit() or w.endswith("day")]
        assert len(copied) == 4
        for word in copied:
            assert named(example)[word] == {word}


def test_every_reply_names_a_problem_a_wish_and_an_item(examples):
    for example in examples:
        gold = named(example)
        in_other_words = {frozenset(keys) for word, keys in gold.items() if keys != {word}}
        assert len(in_other_words) == 2, "a problem, and a wish"
        assert sum(gold.get(item) == {item} for item in ITEMS) == 1
    assert len({example.meta["case"] for example in examples}) == 6


def test_what_is_said_aside_is_never_marked(examples):
    seen = 0
    for example in examples:
        talk = " ".join(example.inputs["text"])
        marked = set().union(*named(example).values())
        for aside in ("by the way", "last month was fine", "away then", "the same"):
            seen += aside in talk
        assert not marked & {"neighbour", "month", "away", "way"}
    assert seen > 200


def test_more_asides_make_longer_talks(generator):
    def mean(asides: int) -> float:
        made = list(generator("support", train=200, asides=asides).examples("train"))
        return sum(len(e.inputs["text"]) for e in made) / len(made)

    assert mean(0) + 8 < mean(5)


def test_a_number_has_as_many_digits_as_asked_for(generator):
    (example,) = generator("support", train=1, digits=5).examples("train")
    assert sum(word.isdigit() for word in example.answer) == 5
