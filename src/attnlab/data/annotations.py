"""A file of `dataset.annotations`: what training leaves out, corrects or adds, example by example.

A line of JSON each; of these keys all but `id` may be missing, and others are for people:

    {"id": "train-7", "keep": false}                          left out
    {"id": "train-8", "map_weight": 0.0}                      its gold map is withheld
    {"id": "train-9", "answer": "good", "map": [[0, 3]]}      row 0 marks keys 0 and 3
    {"id": "new-1", "inputs": {"text": ["a", "film"]}, "answer": "good"}
    {"id": "new-2", "inputs": {"text": ["a", "plot"]}, "unlabelled": true}
    {"id": "train-3", "map": [[{"span": [4, 9]}]]}            row 0 marks keys 4 to 8
    {"id": "train-5", "map": [[{"box": [2, 2, 9, 6]}]]}       left, top, right, bottom in pixels
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attnlab.data.answer import answer_form
from attnlab.data.example import Example, Value
from attnlab.data.supervision import Changed, Chosen, Joined
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError

ALLOWED = 'allowed: {"id": "train-7", "keep": false, "answer": ..., "map": [[0, 3]]}'


class Span(BaseModel):
    """The keys from the first number up to, but not with, the second."""

    model_config = ConfigDict(strict=True, extra="forbid")

    span: tuple[int, int]


class Box(BaseModel):
    """The pixels from left to right and from top to bottom; the last two are not in it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    box: tuple[int, int, int, int]


Mark = int | Span | Box
Rows = list[list[Mark] | None]


class Annotation(BaseModel):
    """One line; other keys are for people."""

    model_config = ConfigDict(strict=True)

    id: str
    keep: bool = True  # whether training sees the example
    answer: Any = None  # in the place of its own; null leaves it
    map: Rows | None = None  # marked keys of each row, a row that nobody marked is null
    map_weight: float = Field(default=1.0, ge=0)  # of its gold map in the loss; 0 withholds it
    inputs: dict[str, list[str]] = {}  # of an example that the data lack
    attended: str | None = None
    unlabelled: bool = False  # an example whose label nobody knows, of which training sees the rest


def read_annotations(path: Path) -> dict[str, Annotation]:
    """The lines of a file by the ids of their examples.

    Raises:
        UserError: there is no such file, or a line says nothing of an example.
    """
    if not path.is_file():
        raise UserError(
            f"dataset.annotations: no file {path}; try: attnlab clean, or attnlab label"
        )
    lines: dict[str, Annotation] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = Annotation.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise UserError(
                f"dataset.annotations: {path}:{number}: {where}: {first['msg'].lower()}; {ALLOWED}"
            ) from None
        lines[line.id] = line
    return lines


def annotated(examples: Sequence[Example], path: Path, form: str) -> Sequence[Example]:
    """The examples without those that a file leaves out, corrected by it, and those that it adds.

    Args:
        examples: the training split.
        path: the file.
        form: that of the answers.
    """
    lines = read_annotations(path)
    positions, known = [], set()
    for position, example in enumerate(examples):
        line = lines.get(example.id)
        if line is None or line.keep:
            positions.append(position)
        if line is not None:
            known.add(line.id)
    new = [
        corrected(new_example(line), line, form)
        for line in lines.values()
        if line.id not in known
        and line.inputs
        and line.keep
        and (line.answer is not None or line.unlabelled)
    ]
    if not known and not new:
        raise UserError(f"dataset.annotations: {path} names no training example and adds none")
    if not positions and not new:
        raise UserError(f"dataset.annotations: {path} leaves no training example")
    kept = Chosen(examples, positions)

    def change(index: int, example: Example) -> Example:
        line = lines.get(example.id)
        return example if line is None else corrected(example, line, form)

    return Joined(Changed(kept, change), new) if new else Changed(kept, change)


def new_example(line: Annotation) -> Example:
    """The example that a line adds."""
    attended = line.attended or next(iter(line.inputs))
    return Example(line.id, dict(line.inputs), line.answer, attended=attended)


def corrected(example: Example, line: Annotation, form: str) -> Example:
    """The example with the answer, map and weight of a line; a `UserError` if they do not fit."""
    if line.unlabelled:
        if form != "label":
            problem = f"unlabelled, and answers are of form '{form}', not label"
            raise UserError(f"dataset.annotations: {line.id}: {problem}")
        example = replace(example, answer=None)
    elif line.answer is not None:
        if not answer_form(form).accepts(line.answer):
            raise UserError(
                f"dataset.annotations: {line.id}: answer {line.answer!r} is none of form '{form}'"
            )
        if isinstance(line.answer, list) and line.answer != example.answer:
            example = replace(example, target=None)  # whose rows are words of the old answer
        example = replace(example, answer=line.answer)
    if line.map is not None:
        example = replace(example, target=_target(example, line.id, line.map))
    target = example.target
    if target is None or line.map_weight == 1:
        return example
    if not line.map_weight:
        return replace(example, target=target.without())
    return replace(example, target=replace(target, weight=target.weight * line.map_weight))


def _target(example: Example, name: str, rows: Rows) -> AttentionTarget:
    """Gold of which some keys are marked."""
    attended: Any = example.inputs[example.attended]
    where = f"dataset.annotations: {name}: map"
    if example.target is not None:
        known, keys = example.target.weights.shape
        if len(rows) != known:
            raise UserError(f"{where}: {len(rows)} rows; the example's map has {known}")
    elif isinstance(attended, list):
        keys = len(attended)
    elif np.ndim(attended) == 3:
        keys = attended.shape[1] * attended.shape[2]
    else:
        raise UserError(f"{where}: of neither text nor picture, and there is no gold map")
    weights = np.zeros((len(rows), keys), np.float32)
    for row, marks in enumerate(rows):
        for mark in marks or ():
            for key in _marked(mark, attended, f"{where}.{row}"):
                if not 0 <= key < keys:
                    raise UserError(f"{where}.{row}: no key {key}; allowed: 0 to {keys - 1}")
                weights[row, key] = 1
    annotated = np.array([marks is not None for marks in rows])
    return AttentionTarget(weights, query_mask=annotated, key_mask=np.ones(keys, bool))


def _marked(mark: Mark, attended: Value, where: str) -> Iterable[int]:
    """The keys of a mark."""
    if isinstance(mark, Span):
        return range(*mark.span)
    if isinstance(mark, int):
        return (mark,)
    if not isinstance(attended, np.ndarray) or attended.ndim != 3:
        raise UserError(f"{where}: a box in what is no picture")
    height, width = attended.shape[1:]
    left, top, right, bottom = mark.box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UserError(f"{where}: no box {list(mark.box)} in a picture of {width} x {height}")
    return (y * width + x for y in range(top, bottom) for x in range(left, right))
