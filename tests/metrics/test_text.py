"""Exact match and error rates against a library's edit distance; perplexity by definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.distance import edit_distance as nltk_distance

from attnlab.metrics.text import CharacterError, ExactMatch, Perplexity, WordError, edit_distance


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edit_distance_is_that_of_nltk(first, second):
    assert edit_distance(first, second) == nltk_distance(first, second)


def test_rates_are_pooled_over_the_corpus():
    said = ["2026-11-21", "2026-11-2", "", "a b d"]
    gold = ["2026-11-21", "2026-11-21", "ab", "a b c d"]
    figures = {}
    for metric in (ExactMatch(), CharacterError(), WordError()):
        metric.update(said[:2], gold[:2])
        metric.update(said[2:], gold[2:])
        figures |= metric.compute()
    assert figures["exact_match"] == 0.25
    assert figures["character_error"] == pytest.approx((0 + 1 + 2 + 2) / (10 + 10 + 2 + 7))
    assert figures["word_error"] == pytest.approx((0 + 1 + 1 + 1) / (1 + 1 + 1 + 4))


def test_any_of_several_references_will_do():
    exact, character = ExactMatch(), CharacterError()
    for metric in (exact, character):
        metric.update(["colour", "gray"], [["color", "colour"], ["green", "grey"]])
    assert exact.compute()["exact_match"] == 0.5
    assert character.compute()["character_error"] == pytest.approx(1 / (6 + 4))


def test_perplexity_is_pooled_over_units():
    metric = Perplexity()
    metric.update(torch.tensor([2.0, 4.5]), torch.tensor([2, 4]))
    metric.update(torch.tensor([9.0]), torch.tensor([3]))
    nats = 15.5 / 9
    figures = metric.compute()
    assert figures["perplexity"] == pytest.approx(np.exp(nats))
    assert figures["bits_per_unit"] == pytest.approx(nats / np.log(2))
    assert metric.higher_is_better is False
    interval = metric.intervals(resamples=100)["perplexity"]
    assert interval.low < interval.mean < interval.high
