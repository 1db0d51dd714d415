"""Examples as a report shows them."""

from __future__ import annotations

from dataclasses import replace

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
