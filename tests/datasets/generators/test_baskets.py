"""Baskets: the marked items decide the next one, and no single item does."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from attnlab.data.example import Example


@pytest.fixture(scope="module")
def examples(generator) -> list[Example]:
    return list(generator("baskets", train=6000).examples("train"))


def causes(example: Example) -> tuple[str, ...]:
    items = example.inputs["items"]
    return tuple(items[place] for place in example.target.weights[0].nonzero()[0])


def test_the_same_causes_have_the_same_outcome(examples):
    outcomes = defaultdict(set)
    for example in examples:
        outcomes[frozenset(causes(example))].add(example.answer)
    assert len(outcomes) == 64
    assert all(len(answers) == 1 for answers in outcomes.values())


def test_causes_are_the_last_of_each_family(examples):
    for example in examples:
        items = example.inputs["items"]
        families = {item[0]: place for place, item in enumerate(items) if item[0] in "ab"}
        assert sorted(families.values()) == example.meta["causes"]
        assert {item[0] for item in causes(example)} == {"a", "b"}


def test_one_cause_alone_decides_little(examples):
    by_cause = defaultdict(Counter)
    for example in examples:
        by_cause[causes(example)[0]][example.answer] += 1
    right = sum(answers.most_common(1)[0][1] for answers in by_cause.values())
    assert right / len(examples) < 0.35


def test_outcomes_are_the_same_in_every_split(generator):
    made = generator("baskets", train=500, val=300)
    known = {frozenset(causes(e)): e.answer for e in made.examples("train")}
    checked = [e for e in made.examples("val") if frozenset(causes(e)) in known]
    assert len(checked) > 200
    assert all(known[frozenset(causes(e))] == e.answer for e in checked)


def test_popular_items_are_bought_more_often(generator):
    made = generator("baskets", train=500)
    bought = Counter(item for e in made.examples("train") for item in e.inputs["items"])
    assert bought["item-0"] > 5 * bought["item-50"]
    even = generator("baskets", train=500, popularity=0.0)
    bought = Counter(item for e in even.examples("train") for item in e.inputs["items"])
    assert bought["item-0"] < 3 * bought["item-50"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_number_of_causes_and_lengths(generator, number):
    made = generator("baskets", train=100, causes=number, min_length=5, max_length=7)
    for example in made.examples("train"):
        assert example.target.weights.sum() == number
        assert 5 <= len(example.inputs["items"]) <= 7
