"""Exact match and error rates against a textbook edit distance."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.metrics.text import CharacterError, ExactMatch, WordError, edit_distance


def textbook(first: str, second: str) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        replaced = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edit_distance_is_the_textbook_recursion(first, second):
    assert edit_distance(first, second) == textbook(first, second)


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
