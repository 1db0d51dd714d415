"""Formats of published corpora: CoNLL, bAbI, bracketed trees, COCO."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.files import BadRowError, find_files, json_of, lines
from attnlab.datasets.readers.rows import FileReader, Row, RowReader, Where
from attnlab.errors import UserError


class ConllReader(FileReader):
    """A row is a sentence; each of its columns is a list with one entry for each word."""

    def __init__(
        self,
        *,
        columns: list[str | None],
        separator: str | None,
        closing: str | None,
        comment: str | None,
    ) -> None:
        self.columns, self.separator = columns, separator
        self.closing, self.comment = closing, comment

    def read(self, path: Path) -> Iterator[Row]:
        sentence: list[str] = []
        start = 1
        for number, line in enumerate(lines(path), start=1):
            if not line.strip():
                if sentence:
                    yield self._row(path.name, start, sentence)
                sentence, start = [], number + 1
            elif not (self.comment and line.startswith(self.comment)):
                sentence.append(line)
        if sentence:
            yield self._row(path.name, start, sentence)

    def _row(self, file: str, number: int, sentence: list[str]) -> Row:
        fields = [line.split(self.separator) for line in sentence]
        values: dict[str, object] = {}
        if self.closing is not None:
            last = fields.pop()
            if len(last) != 1:
                problem = f"its last line has {len(last)} fields, not '{self.closing}' alone"
                return Row(file, number, problem=problem)
            values[self.closing] = last[0]
        for i, words in enumerate(fields):
            if len(words) != len(self.columns):
                problem = f"word {i + 1} has {len(words)} of {len(self.columns)} columns"
                return Row(file, number, problem=problem)
        for column, entries in zip(self.columns, zip(*fields, strict=True), strict=False):
            if column is not None:
                values[column] = [entry.strip() for entry in entries]
        return Row(file, number, values)


class BabiReader(FileReader):
    """A row is a question: the story so far, the answer, and which sentences lead to it.

    `story` is a list of sentences, `supporting` counts them from 0 in the order in which they are
    needed. Lines are numbered from 1 in each story, questions as well.
    """

    def read(self, path: Path) -> Iterator[Row]:
        story: dict[int, str] = {}  # the sentences so far by the number of their line
        for place, line in enumerate(lines(path), start=1):
            number, _, sentence = line.strip().partition(" ")
            if not number:
                continue
            if number == "1":
                story = {}
            cells = sentence.split("\t")
            if not number.isdecimal() or not sentence:
                yield Row(path.name, place, problem="no line such as '3 Mary went home.'")
            elif len(cells) == 1:
                story[int(number)] = sentence
            else:
                yield self._question(Row(path.name, place), cells, story)

    def _question(self, row: Row, cells: list[str], story: dict[int, str]) -> Row:
        try:
            question, answer, *facts = (cell.strip() for cell in cells)
            values = {
                "story": list(story.values()),
                "question": question,
                "answer": answer,
                "supporting": _positions(facts[0] if facts else "", story),
            }
        except BadRowError as error:
            return Row(row.file, row.number, problem=str(error))
        return Row(row.file, row.number, values)


def _positions(numbers: str, story: dict[int, str]) -> list[int]:
    """Where in the story the lines of these numbers stand, counted from 0."""
    positions = {str(number): position for position, number in enumerate(story)}
    unknown = [number for number in numbers.split() if number not in positions]
    if unknown:
        raise BadRowError(f"supporting line '{unknown[0]}' is no sentence of the story so far")
    return [positions[number] for number in numbers.split()]


PART = re.compile(r"\(|\)|[^\s()]+")
Phrase = tuple[str, list[str]]  # its label and its words


class TreesReader(RowReader):
    """A row is a sentence, or each of its phrases, with columns `phrase` and `label`."""

    def __init__(
        self,
        *,
        phrases: Collection[str],
        labels: Mapping[str, str | None],
        phrase_labels: Mapping[str, str | None],
    ) -> None:
        self.phrases, self.labels = phrases, labels
        self.phrase_labels = {**labels, **phrase_labels}

    def files(self, folder: Path, where: Where, key: str) -> list[Path]:
        assert isinstance(where, str)
        return find_files(folder, where, key)

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        every = key.rpartition(".")[2] in self.phrases
        labels = self.phrase_labels if every else self.labels
        earlier: set[tuple[str, ...]] = set()
        for path in self.files(folder, where, key):
            for number, line in enumerate(lines(path), start=1):
                try:
                    phrases = read_tree(line)
                except ValueError as error:
                    yield Row(path.name, number, problem=str(error))
                    continue
                for label, words in phrases if every else phrases[-1:]:
                    if label not in labels:
                        known = ", ".join(labels)
                        yield Row(path.name, number, problem=f"label '{label}'; known: {known}")
                    elif labels[label] is not None and tuple(words) not in earlier:
                        if every:  # a phrase that many sentences share counts once
                            earlier.add(tuple(words))
                        yield Row(path.name, number, {"phrase": words, "label": labels[label]})


def read_tree(line: str) -> list[Phrase]:
    """Every phrase of a tree, the whole of it last."""
    parts = iter(PART.findall(line))
    open_: list[Phrase] = []
    closed: list[Phrase] = []
    for part in parts:
        if closed and not open_:
            raise ValueError(f"'{part}' stands behind the tree")
        if part == "(":
            open_.append((next(parts, ""), []))
        elif not open_:
            raise ValueError(f"'{part}' stands before the tree")
        elif part == ")":
            label, words = open_.pop()
            if open_:
                open_[-1][1].extend(words)
            closed.append((label, words))
        else:
            open_[-1][1].append(part.replace("\\/", "/"))
    if open_ or not closed:
        raise ValueError(f"{len(open_)} brackets are not closed" if open_ else "no tree")
    return closed


PARTS = ("images", "annotations", "categories")


class CocoReader(FileReader):
    """A row for each picture: `file`, all its `objects`, and the `label` with the most area.

    `boxes` are those of the objects with that label. An object has `category`, `box` (left, top,
    right, bottom), `outline` (polygons or run lengths, if it has any) and `crowd`.
    """

    first = RowReader.first  # JSON is read as a whole

    def read(self, path: Path) -> Iterator[Row]:
        content = _parts(path)
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        marked: dict[Any, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            marked[annotation.get("image_id")].append(annotation)
        for number, image in enumerate(content["images"], start=1):
            values = {"file": image.get("file_name")}
            try:
                values |= _marks([_object(each, names) for each in marked.pop(image["id"], ())])
                yield Row(path.name, number, values)
            except BadRowError as error:
                yield Row(path.name, number, problem=str(error))
        if marked:
            unknown = next(iter(marked))
            raise UserError(f"{path}: annotations of image {unknown}, which is not among 'images'")


def _parts(path: Path) -> dict[str, Any]:
    """The whole file, since JSON is read as one."""
    content = json_of(path)
    missing = [part for part in PARTS if not isinstance(content, dict) or part not in content]
    if missing:
        raise UserError(
            f"{path}: not as COCO's instances.json: it has no '{missing[0]}'; "
            f"needed: {', '.join(PARTS)}"
        )
    return content


def _object(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any]:
    category, box = annotation.get("category_id"), annotation.get("bbox")
    name, where = names.get(category), f"annotation {annotation.get('id')}"
    if name is None:
        raise BadRowError(f"{where}: category {category} is not among 'categories'")
    if not isinstance(box, list) or len(box) != 4 or min(box[2:]) <= 0:
        raise BadRowError(f"{where}: bbox {box} is no [left, top, width, height] with an area")
    left, top, width, height = box
    return {
        "category": category,
        "name": name,
        "box": [left, top, left + width, top + height],
        "outline": annotation.get("segmentation"),
        "crowd": bool(annotation.get("iscrowd")),
    }


def _marks(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What columns say of the objects of a picture."""
    areas: dict[str, float] = defaultdict(float)
    for each in objects:
        left, top, right, bottom = each["box"]
        areas[each["name"]] += (right - left) * (bottom - top)
    label = max(areas, key=lambda name: areas[name], default="")
    boxes = [each["box"] for each in objects if each["name"] == label]
    return {"objects": list(objects), "label": label, "boxes": boxes}
