"""Annotations that leave out, correct and add training examples, and files that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnlab.data.annotations import annotated, read_annotations
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError

MARKS = AttentionTarget(np.eye(1, 3), np.ones(1, bool), np.ones(3, bool))
EXAMPLES = [Example(f"train-{i}", {"text": ["a", "b", "c"]}, "x", MARKS) for i in range(3)]
NOBODY = "\n".join(f'{{"id": "train-{i}", "keep": false}}' for i in range(3))


def training(tmp_path: Path, *lines: str) -> list[Example]:
    file = tmp_path / "annotations.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return list(annotated(EXAMPLES, file, "label"))


def test_examples_are_left_out_corrected_and_added(tmp_path: Path) -> None:
    first, second, new = training(
        tmp_path,
        '{"id": "train-0", "keep": false, "label": "a doubt"}',
        '{"id": "train-1", "answer": "y", "map": [[1, 2]]}',
        '{"id": "new", "inputs": {"text": ["d", "e"]}, "answer": "y", "map": [[1]]}',
        '{"id": "later", "inputs": {"text": ["d", "e"]}, "answer": null, "map": null}',
    )
    assert (first.id, first.answer, second.answer, new.id) == ("train-1", "y", "x", "new")
    assert first.target is not None and first.target.weights.tolist() == [[0, 1, 1]]
    assert new.inputs == {"text": ["d", "e"]} and new.attended == "text"
    assert new.target is not None and new.target.weights.tolist() == [[0, 1]]


def test_examples_without_a_label_are_added_where_it_says_so(tmp_path: Path) -> None:
    lines = '{"id": "new", "inputs": {"text": ["d"]}, "unlabelled": true}'
    lines = (lines, '{"id": "train-1", "unlabelled": true}')
    answers = {example.id: example.answer for example in training(tmp_path, *lines)}
    assert answers == {"train-0": "x", "train-1": None, "train-2": "x", "new": None}
    with pytest.raises(UserError, match="new: unlabelled, and answers are of form 'units'"):
        list(annotated(EXAMPLES, tmp_path / "annotations.jsonl", "units"))


def test_another_sequence_has_no_rows_of_the_old_map(tmp_path: Path) -> None:
    marks = AttentionTarget(np.eye(2, 3), np.ones(2, bool), np.ones(3, bool))
    given = [Example(f"train-{i}", {"text": ["a", "b", "c"]}, ["x", "y"], marks) for i in range(2)]
    file = tmp_path / "annotations.jsonl"
    file.write_text('{"id": "train-0", "answer": ["z"]}\n{"id": "train-1", "answer": ["x", "y"]}\n')
    other, same = annotated(given, file, "units")
    assert (other.answer, other.target) == (["z"], None)
    assert same.target is marks


def test_gold_maps_are_weighed_and_withheld(tmp_path: Path) -> None:
    lines = '{"id": "train-0", "map_weight": 0.5}', '{"id": "train-1", "map_weight": 0}'
    half, none, whole = training(tmp_path, *lines)
    assert half.target is not None and half.target.weight == 0.5
    assert none.target is not None and not none.target.query_mask.any()
    assert whole.target is MARKS


def test_a_row_that_nobody_marked_is_not_annotated(tmp_path: Path) -> None:
    (example, *_) = training(tmp_path, '{"id": "train-0", "map": [null]}')
    assert example.target is not None and not example.target.query_mask.any()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "train-0", "map_weight": -1}', ":1: map_weight: input should be greater than"),
        ("nothing", ":1: line: invalid json"),
        ('{"id": "other-9", "keep": false}', "names no training example and adds none"),
        ('{"id": "train-0", "map": [[3]]}', "train-0: map.0: no key 3; allowed: 0 to 2"),
        ('{"id": "train-0", "map": [[0], [1]]}', "2 rows; the example's map has 1"),
        ('{"id": "train-0", "answer": 3}', "answer 3 is none of form 'label'"),
        (NOBODY, "leaves no training"),
    ],
)
def test_a_wrong_file_is_one_line(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        training(tmp_path, line)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*none.jsonl; try: attnlab clean"):
        read_annotations(tmp_path / "none.jsonl")
