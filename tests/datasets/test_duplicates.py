"""Examples that repeat others, in their own split or in another."""

from __future__ import annotations

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.duplicates import NearTwin, Twin, content, contents_of, near_twins, twins


def text(name: str, words: str, answer: str = "x") -> Example:
    return Example(name, {"text": words.split()}, answer)


def test_texts_are_compared_by_their_letters_and_others_bit_by_bit() -> None:
    assert content(text("a", "A fine , film !")) == content(text("b", "a fine film"))
    assert content(text("a", "a fine film")) != content(text("b", "fine a film"))
    assert content(text("a", "!")) != content(text("b", "?"))
    zeros = Example("a", {"image": np.zeros((1, 2, 2), np.float32)}, "x", attended="image")
    other = Example("b", {"image": np.full((1, 2, 2), 1e-6, np.float32)}, "x", attended="image")
    assert content(zeros) != content(other)


def test_leaks_come_before_repetitions_and_the_first_of_a_split_is_kept() -> None:
    train = [
        text("t0", "one two"),
        text("t1", "One two"),
        text("t2", "three", "y"),
        text("t3", "4"),
    ]
    splits = {"train": train, "val": [text("v0", "three")], "test": [text("s0", "five")]}
    assert twins(contents_of(splits)) == [
        Twin("t1", "t0", "train", same_answer=True),
        Twin("t2", "v0", "val", same_answer=False),
    ]


def test_texts_that_are_nearly_the_same() -> None:
    words = "a long and rather slow film about two brothers who meet again after many years"
    train = [
        text("t0", words),
        text("t1", f"{words} !"),  # the same
        text("t2", words.replace("many", "some")),
        text("t3", "nothing like it"),
        Example("t4", {"image": np.zeros((1, 2, 2), np.float32)}, "x", attended="image"),
    ]
    held_out = [text("s0", f"{words} apart"), text("s1", "a film")]
    splits = {"train": train, "val": [], "test": held_out}
    found = near_twins(contents_of(splits))
    runs = len(words.split()) - 2
    assert [(twin.id, twin.other, twin.split) for twin in found] == [
        ("t0", "s0", "test"),
        ("t1", "s0", "test"),
    ]
    assert found[0] == NearTwin("t0", "s0", "test", runs / (runs + 1))
    (changed,) = near_twins(contents_of({"train": [train[0], train[2]]}), 0.6)
    assert (changed.id, changed.other) == ("t2", "t0")


def test_no_pair_of_near_twins_is_missed() -> None:
    random = np.random.default_rng(0)
    words = [list(map(str, random.choice(list("abc"), 9))) for _ in range(60)]
    train = [text(f"t{i}", " ".join(each)) for i, each in enumerate(words)]
    runs = [{tuple(each[i : i + 3]) for i in range(7)} for each in words]
    pairs = {
        f"t{i}"
        for i in range(60)
        for j in range(i)
        if 0.5 <= len(runs[i] & runs[j]) / len(runs[i] | runs[j]) < 1
    }
    assert pairs
    assert {twin.id for twin in near_twins(contents_of({"train": train}), 0.5)} == pairs
