"""Examples as a report shows them."""

from __future__ import annotations

from dataclasses import replace

from attnlab.report import page
from attnlab.report.examples import ShownExample
from attnlab.report.map_pictures import draw_map


def test_rows_of_gold_that_was_not_written_are_told() -> None:
    """The map was made after the words of gold: its rows are not those of a wrong answer."""
    one = ShownExample(
        "a", ["x", "y"], ["1", "9"], "19", "18", [[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2, {}
    )
    assert one.teacher_forced
    assert "rows: gold, teacher-forced" in draw_map(one).axes[0].get_title(loc="left")
    assert replace(one, gold="1 9", prediction="1 8").teacher_forced
    assert not replace(one, prediction="19").teacher_forced, "the answer is gold"
    assert not replace(one, queries=["x", "y"]).teacher_forced, "rows are words of the input"


def test_rows_of_a_large_map_may_be_the_last_words_of_gold() -> None:
    """Whatever an input is called."""
    one = ShownExample("a", ["x"], ["1", "9"], "7 8 1 9", "3", [[1.0]] * 2, [[1.0]] * 2, {})
    whole = replace(one, context={"rows": "a text"})
    assert not whole.teacher_forced
    last = replace(whole, rows_shown="the last 2 of 4")
    assert last.teacher_forced
    assert page._example(last)["context"] == {"rows": "a text", "rows shown": "the last 2 of 4"}
