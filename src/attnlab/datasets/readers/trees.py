"""Bracketed trees with a label at every phrase, one a line: `(3 (2 a) (4 splash))`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from attnlab.datasets.readers.paths import found, lines
from attnlab.datasets.readers.row import Row, RowReader, Where

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
        return found(folder, where, key)

    def rows(self, folder: Path, where: Where, key: str) -> Iterator[Row]:
        every = key.rpartition(".")[2] in self.phrases
        labels = self.phrase_labels if every else self.labels
        seen: set[tuple[str, ...]] = set()
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
                    elif labels[label] is not None and tuple(words) not in seen:
                        if every:  # a phrase that many sentences share counts once
                            seen.add(tuple(words))
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
