"""Reviews: the marked words give the label, and no list of words does when negation is used."""

from __future__ import annotations

from collections import Counter

import pytest

from attnlab.data.example import Example
from attnlab.datasets.generators.reviews import ADJECTIVES, NEGATORS, VERBS, spans

POLARITY = {w: sign for sign in (0, 1) for w in (*ADJECTIVES[sign], *VERBS[sign])}
DENIALS = {word for negator in (*NEGATORS, "do not") for word in negator.split()}


@pytest.fixture(scope="module")
def examples(generator) -> list[Example]:
    return list(generator("reviews", train=3000).examples("train"))


def rationales(example: Example) -> list[list[str]]:
    words = example.inputs["text"]
    return [words[start:end] for start, end in example.meta["rationale"]]


def test_the_rationale_alone_gives_the_label(examples):
    for example in examples:
        for words in rationales(example):
            (opinion,) = [word for word in words if word in POLARITY]
            denied = bool(DENIALS & set(words))
            assert ("negative", "positive")[POLARITY[opinion] ^ denied] == example.answer


def test_the_target_is_the_rationale(examples):
    for example in examples[:300]:
        marked = example.target.weights[0].nonzero()[0].tolist()
        assert marked == [i for start, end in example.meta["rationale"] for i in range(start, end)]


def accuracy_of_word_votes(train: list[Example], test: list[Example]) -> float:
    """How far a sum over words gets, each word voting as it did in training."""
    votes: Counter[str] = Counter()
    for example in train:
        sign = 1 if example.answer == "positive" else -1
        votes.update(dict.fromkeys(set(example.inputs["text"]) & set(POLARITY), sign))
    right = 0
    for example in test:
        total = sum(votes[word] for word in example.inputs["text"])
        right += (total > 0) == (example.answer == "positive")
    return right / len(test)


def test_no_word_list_solves_it_when_opinions_are_denied(generator):
    plain = {"distractors": 0, "opinions": 1}
    for negation, low, high in ((0.0, 0.99, 1.0), (0.5, 0.4, 0.6), (0.3, 0.6, 0.8)):
        made = generator("reviews", train=1200, val=300, negation=negation, **plain)
        accuracy = accuracy_of_word_votes(list(made.examples("train")), list(made.examples("val")))
        assert low <= accuracy <= high


def test_distractors_alone_defeat_word_lists(generator):
    made = generator(
        "reviews", train=1200, val=300, negation=0.0, opinions=1, distractors=5, min_sentences=6
    )
    accuracy = accuracy_of_word_votes(list(made.examples("train")), list(made.examples("val")))
    assert 0.6 < accuracy < 0.9


def test_labels_are_balanced(examples):
    share = sum(example.answer == "positive" for example in examples) / len(examples)
    assert share == pytest.approx(0.5, abs=0.05)


def test_lengths_are_honoured(generator):
    made = generator("reviews", train=200, min_sentences=2, max_sentences=2)
    assert all(e.inputs["text"].count(".") == 2 for e in made.examples("train"))


def test_spans():
    assert spans([True, False, True, True]) == [(0, 1), (2, 4)]
    assert spans([False, False]) == []
