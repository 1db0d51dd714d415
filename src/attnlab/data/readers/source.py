"""`FileSource`: the rows of a user's files as examples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from attnlab.config.dataset_files import Answer, Gold, Reader, Splits, TextAnswer, WordRules
from attnlab.config.tokenizer import Tokenizer
from attnlab.data.example import Example, Value
from attnlab.data.groups import Groups
from attnlab.data.readers.columns import AnswerColumn
from attnlab.data.readers.documents import Documents
from attnlab.data.readers.faults import Faults
from attnlab.data.readers.gold import GoldColumn, Seen
from attnlab.data.readers.paths import digest
from attnlab.data.readers.row import BadRowError, Row, RowReader
from attnlab.data.readers.words import Worded, Wording, text
from attnlab.data.source import ANSWER, Source, Split
from attnlab.data.tokenizers import Fitter
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError, suggest


@dataclass(frozen=True, kw_only=True)
class FileSource(Source):
    """Reads the files anew each time a split is asked for; a few rows are in memory at a time."""

    folder: str
    splits: Splits
    reader: Reader
    inputs: Mapping[str, str]
    documents: Mapping[str, str] | None
    looks_at: str
    answer: Answer
    gold: Gold | None
    words: WordRules
    tokenizer: Tokenizer
    limit: int | None
    fold: int
    bad_rows: float
    faults: dict[str, Faults] = field(default_factory=dict)

    def examples(self, split: Split) -> Iterator[Example]:
        held_out = self.splits.held_out()
        if split not in held_out and not (split == "train" and held_out):
            yield from self._all(split)
            return
        for example in self._all("train"):
            if self._split_of(example) == split:
                yield example

    def contents(self) -> str:
        """Hash of every file that is read."""
        named = self.splits.named().items()
        files = [self._rows.files(Path(self.folder), where, _key(s)) for s, where in named]
        texts = [documents.files() for documents in self._documents.values()]
        return digest(path for group in (*files, *texts) for path in group)

    def notes(self) -> dict[str, Any]:
        """Rows that were left out."""
        return {split: f.text() for split, f in self.faults.items() if f.bad}

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        """Those of the inputs, and of an answer that is text; of one kind, or one for all."""
        answers = isinstance(self.answer, TextAnswer)
        names = [*self.inputs, *([ANSWER] if answers else [])]
        tokenizer: Fitter = self.tokenizer.build()
        if self.tokenizer.joint:
            texts = (_text(example, name) for name in names for example in training)
            together = tokenizer.fit(texts)
            return dict.fromkeys(names, together)
        return {name: tokenizer.fit(_text(e, name) for e in training) for name in names}

    def _all(self, split: str) -> Iterator[Example]:
        """The usable rows of a split that has files of its own."""
        faults = self.faults[split] = Faults(split, self.bad_rows)
        where = self.splits.named()[split]
        rows = self._rows.rows(Path(self.folder), where, _key(split))
        gold_seen = self.gold is None
        for row in islice(rows, self.limit):
            if faults.rows == 0:
                self._has_columns(row)
            faults.rows += 1
            gold_seen = gold_seen or self.gold.column in row.values  # type: ignore[union-attr]
            try:
                example = self._example(row, f"{split}-{faults.rows - 1}")
            except ValueError as error:
                faults.add(row, str(error))
            else:
                yield example
        if faults.rows and not gold_seen:
            assert self.gold is not None
            raise UserError(f"dataset.gold.column: no column '{self.gold.column}' in {split}")
        faults.check()

    def _has_columns(self, row: Row) -> None:
        """A column that the first row lacks is a mistake in the settings, not in the row."""
        wanted = {f"dataset.inputs.{name}": column for name, column in self.inputs.items()}
        if self._answer.column is not None:
            wanted["dataset.answer.column"] = self._answer.column
        for key, column in wanted.items():
            if not row.problem and column not in row.values:
                hint = suggest(column, row.values)
                raise UserError(f"{key}: no column '{column}' in {row.file}; {hint}")

    def _example(self, row: Row, name: str) -> Example:
        if row.problem:
            raise BadRowError(row.problem)
        worded = {name: self._worded(name, column, row) for name, column in self.inputs.items()}
        looked_at = worded[self.looks_at]
        cell = None if self._answer.column is None else row.values.get(self._answer.column)
        answer = self._answer.read(cell, self._wording, len(looked_at.words))
        example = Example(
            id=name,
            inputs={name: each.words for name, each in worded.items()},
            answer=answer,
            looks_at=self.looks_at,
            meta={"row": row.place},
        )
        seen = Seen(looked_at, len(answer) if isinstance(answer, list) else 1)
        return self._cut(self._with_gold(example, row, seen))

    def _with_gold(self, example: Example, row: Row, seen: Seen) -> Example:
        cell = None if self._gold is None else row.values.get(self._gold.column)
        if self._gold is None or cell is None or cell == "":
            return example
        return replace(example, target=self._gold.read(cell, seen))

    def _worded(self, name: str, column: str, row: Row) -> Worded:
        cell = row.values.get(column)
        if name in self._documents:
            cell = self._documents[name].read(text(cell, column))
        return self._wording.of(cell, column)

    def _cut(self, example: Example) -> Example:
        """Only the first words of each text, and gold over them."""
        longest = self.words.longest
        if longest is None:
            return example

        def cut(value: Value) -> Value:
            return value[:longest] if isinstance(value, list) else value

        inputs = {name: cut(value) for name, value in example.inputs.items()}
        target = example.target
        if target is not None:
            queries, keys = (Groups.same(size).cut(0, longest) for size in target.weights.shape)
            target = target.regroup_keys(keys).regroup_queries(queries)
        return replace(example, inputs=inputs, answer=cut(example.answer), target=target)

    def _split_of(self, example: Example) -> Split:
        """By a hash of what is asked alone: the same again falls into the same split."""
        content = repr(sorted(example.inputs.items())).encode()
        place = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") / 2**64
        shares = self.splits.held_out()
        test, val = shares.get("test", 0.0), shares.get("val", 0.0)
        place = (place - self.fold * (test or val)) % 1.0
        if place < test:
            return "test"
        return "val" if place < test + val else "train"

    @cached_property
    def _rows(self) -> RowReader:
        return self.reader.build()

    @cached_property
    def _answer(self) -> AnswerColumn:
        return self.answer.build()

    @cached_property
    def _gold(self) -> GoldColumn | None:
        return None if self.gold is None else self.gold.build()

    @cached_property
    def _wording(self) -> Wording:
        return Wording(self.words.split, self.words.lowercase)

    @cached_property
    def _documents(self) -> dict[str, Documents]:
        folder = Path(self.folder)
        named = (self.documents or {}).items()
        return {name: Documents(folder / d, f"dataset.documents.{name}") for name, d in named}


def _key(split: str) -> str:
    return f"dataset.splits.{split}"


def _text(example: Example, name: str) -> list[str]:
    return example.answer if name == ANSWER else example.inputs[name]  # type: ignore[return-value]
