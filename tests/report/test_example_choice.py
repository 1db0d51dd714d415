"""Which examples a report shows."""

from __future__ import annotations

from collections import Counter

import pytest

from attnlab.report.example_choice import choose_examples


def test_of_a_sorted_file_each_answer_has_its_share() -> None:
    golds = ["no"] * 600 + ["yes"] * 400
    chosen = choose_examples(golds, 200)
    assert Counter(golds[i] for i in chosen) == {"no": 120, "yes": 80}
    assert chosen == sorted(set(chosen))


def test_rare_answers_are_shown() -> None:
    golds = ["often"] * 5000 + ["rare"] + ["rarer"]
    assert Counter(golds[i] for i in choose_examples(golds, 50)) == {
        **{"often": 48, "rare": 1, "rarer": 1}
    }


def test_where_every_answer_is_another_examples_are_spread_over_the_file() -> None:
    chosen = choose_examples([str(i) for i in range(1000)], 10)
    assert chosen == list(range(0, 1000, 100))


@pytest.mark.parametrize("size", [0, 1, 7, 199, 200])
def test_of_few_examples_all_are_shown(size: int) -> None:
    assert choose_examples(["same"] * size, 200) == list(range(size))
    assert choose_examples([str(i % 3) for i in range(size)], 200) == list(range(size))


def test_there_are_never_more_than_asked_for() -> None:
    golds = [str(min(i, 39)) for i in range(1000)]  # forty answers, one of them very common
    chosen = choose_examples(golds, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert {golds[i] for i in chosen} == set(golds)
