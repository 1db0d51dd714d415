"""Examples that repeat others, in their own split or in another."""

from __future__ import annotations

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.duplicates import Twin, content, twins


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
    assert twins(splits) == [
        Twin("t1", "t0", "train", same_answer=True),
        Twin("t2", "v0", "val", same_answer=False),
    ]
