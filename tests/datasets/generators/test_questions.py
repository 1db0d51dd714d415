"""Questions: the answer follows from the picture and the question, and from neither alone."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from attnlab.data.example import Example

AXES = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}


@pytest.fixture(scope="module")
def examples(generator) -> list[Example]:
    return list(generator("questions", train=2000).examples("train"))


def places(example: Example, axis: int) -> dict[int, float]:
    """For each digit the middle of its box along the axis."""
    return {int(label): (box[axis] + box[axis + 2]) / 2 for label, *box in example.meta["digits"]}


def asked(example: Example) -> tuple[str, int]:
    words = example.inputs["question"]
    (relation,) = set(words) & set(AXES)
    return relation, int(words[-2])


def test_the_answer_is_the_nearest_in_that_direction(examples):
    for example in examples:
        relation, anchor = asked(example)
        axis, sign = AXES[relation]
        along = places(example, axis)
        ahead = {d: sign * (p - along[anchor]) for d, p in along.items() if d != anchor}
        assert min(abs(step) for step in ahead.values()) >= 3
        steps = sorted((step, digit) for digit, step in ahead.items() if step > 0)
        assert example.answer == str(steps[0][1])
        assert len(steps) == 1 or steps[1][0] - steps[0][0] >= 3
        assert example.meta["relation"] == relation


def test_the_target_is_the_box_of_the_answer(examples):
    for example in examples[:300]:
        (box,) = [b for label, *b in example.meta["digits"] if str(label) == example.answer]
        left, top, right, bottom = (int(edge) for edge in box)
        marked = example.target.weights.reshape(32, 32)
        assert marked[top:bottom, left:right].all()
        assert marked.sum() == (bottom - top) * (right - left)


def test_two_hops_have_the_digit_asked_about_first(examples, generator):
    way = generator("questions", train=100, hops=2).examples("train")
    for one, both in zip(examples[:100], way, strict=True):
        first, last = both.target.weights.reshape(2, 32, 32)
        assert (last == one.target.weights.reshape(32, 32)).all()
        _, anchor = asked(both)
        (box,) = [b for label, *b in both.meta["digits"] if label == anchor]
        left, top, right, bottom = (int(edge) for edge in box)
        assert first[top:bottom, left:right].all() and first.sum() == (bottom - top) * (
            right - left
        )


def test_the_question_alone_says_little(examples):
    by_question = defaultdict(Counter)
    for example in examples:
        by_question[tuple(example.inputs["question"])][example.answer] += 1
    right = sum(answers.most_common(1)[0][1] for answers in by_question.values())
    assert right / len(examples) < 0.25


def test_the_relation_without_its_anchor_says_too_little(examples):
    """Answering with the outermost digit in the direction asked about is often wrong."""
    right = 0
    for example in examples:
        axis, sign = AXES[asked(example)[0]]
        along = places(example, axis)
        right += example.answer == str(max(along, key=lambda d: sign * along[d]))
    assert right / len(examples) < 0.6


def test_every_relation_and_only_those_asked_for(examples, generator):
    assert {asked(example)[0] for example in examples} == set(AXES)
    made = generator("questions", train=50, relations=["above"])
    assert {asked(example)[0] for example in made.examples("train")} == {"above"}


def test_words_make_a_question(examples):
    words = {" ".join(example.inputs["question"]) for example in examples}
    assert "which digit is next left of the 3 ?" in words
    assert "which digit is next above the 7 ?" in words
