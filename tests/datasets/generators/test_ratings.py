"""Ratings: the answer is the mean of the marked numbers, and no number marks itself."""

from __future__ import annotations

import numpy as np


def test_the_answer_is_the_mean_of_what_is_marked(generator):
    for example in generator("ratings", train=300).examples("train"):
        words = np.array(example.inputs["text"])
        marked = example.target.weights[0] > 0
        assert example.answer == words[marked].astype(int).mean()
        assert np.flatnonzero(marked).tolist() == sorted(example.meta["scores"])


def test_numbers_that_do_not_count_are_as_large_as_those_that_do(generator):
    own, others, wrong = [], [], []
    for example in generator("ratings", train=1000).examples("train"):
        words, marked = example.inputs["text"], example.target.weights[0] > 0
        numbers = [(int(w), m) for w, m in zip(words, marked, strict=True) if w.isdecimal()]
        own += [n for n, m in numbers if m]
        others += [n for n, m in numbers if not m]
        wrong.append(np.mean([n for n, _ in numbers]) - example.answer)
    assert abs(np.mean(own) - np.mean(others)) < 0.5
    assert set(own) == set(others) == set(range(11))
    assert np.abs(wrong).mean() > 0.7  # what a map that marks all numbers is off by
