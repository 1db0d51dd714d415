"""`FileSource`: the rows of a user's files as examples whose inputs are texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from attnlab.data.config import Tokenizer
from attnlab.data.example import ANSWER, Example, Source, Split, Value, words_of
from attnlab.data.groups import Groups
from attnlab.data.tokenizers import Fitter
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.columns_config import (
    Answer,
    Gold,
    TextAnswer,
    TextsAnswer,
    Vectors,
)
from attnlab.datasets.readers.config import Splits, WordRules
from attnlab.datasets.readers.files import Documents, damage, digest, find_files, opened
from attnlab.datasets.readers.gold import AttendedUnits, GoldColumn
from attnlab.datasets.readers.rows import Row, RowSource
from attnlab.datasets.readers.vectors import CountedVectors, VectorFile
from attnlab.datasets.readers.words import (
    WORD,
    AnswerColumn,
    Worded,
    Wording,
    named_by_answer,
    text,
)
from attnlab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FileSource(RowSource):
    """Texts, answers and gold, each from a column of its own."""

    inputs: Mapping[str, str]
    documents: Mapping[str, str] | None
    sentences: Sequence[str]
    optional: Sequence[str]
    attended: str
    answer: Answer
    references: str | None
    gold: Gold | None
    words: WordRules
    tokenizer: Tokenizer
    vectors: Vectors | None
    remarks: dict[str, str] = field(default_factory=dict)

    def columns(self) -> dict[str, str]:
        wanted = {f"dataset.inputs.{name}": column for name, column in self.inputs.items()}
        wanted |= named_by_answer(self._answer.columns)
        if self.references is not None:
            wanted["dataset.references"] = self.references
        return wanted

    def sometimes(self) -> dict[str, str]:
        return {} if self.gold is None else {"dataset.gold.column": self.gold.column}

    def beside(self) -> Iterator[Path]:
        for documents in self._documents.values():
            yield from documents.files()
        if self._vectors is not None:
            yield from self._vectors.files()

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        """Those of the inputs, and of an answer that is text; of one kind, or one for all."""
        answers = isinstance(self.answer, TextAnswer | TextsAnswer)
        names = [*self.inputs, *([ANSWER] if answers else [])]
        tokenizer: Fitter = self.tokenizer.build()
        if self.tokenizer.joint:
            texts = (_text(example, name) for name in names for example in training)
            together = tokenizer.fit(texts)
            return dict.fromkeys(names, together)
        fitted = {name: tokenizer.fit(_text(e, name) for e in training) for name in names}
        if self._vectors is None:
            return fitted

        def read() -> Iterator[list[str]]:
            return (_text(example, name) for name in self.inputs for example in training)

        known = self._vectors.known(read, self._wording)
        have, own = set(known.words), {w for name in self.inputs for w in fitted[name].words}
        share = len(own & have) / max(len(own), 1)
        self.remarks["vectors"] = f"of {len(have)} words, {share:.0%} of those in training"
        return fitted | {name: fitted[name].with_vectors(known) for name in self.inputs}

    def notes(self) -> dict[str, Any]:
        return super().notes() | self.remarks

    def make(self, row: Row, name: str) -> Example:
        worded = {name: self._worded(name, column, row) for name, column in self.inputs.items()}
        looked_at = worded[self.attended]
        assert looked_at is not None
        answer = self._answer.answer(row, self._wording, looked_at)
        example = Example(
            id=name,
            inputs={name: each and each.units for name, each in worded.items()},
            answer=answer,
            attended=self.attended,
            references=self._references(row),
            meta={"row": row.place},
        )
        attended_units = AttendedUnits(looked_at, len(answer) if isinstance(answer, list) else 1)
        return self._cut(self._with_gold(example, row, attended_units))

    def _references(self, row: Row) -> list[str]:
        """Texts as they stand, that others are compared with."""
        if self.references is None:
            return []
        cell = row.values.get(self.references)
        return [
            text(each, self.references) for each in (cell if isinstance(cell, list) else [cell])
        ]

    def _with_gold(self, example: Example, row: Row, attended_units: AttendedUnits) -> Example:
        cell = None if self._gold is None else row.values.get(self._gold.column)
        if self._gold is None or cell is None or cell == "":
            return example
        return replace(example, target=self._gold.read(cell, attended_units))

    def _worded(self, name: str, column: str, row: Row) -> Worded | None:
        """The text of an input; None where the row may lack it, and does."""
        cell = row.values.get(column)
        if name in self.optional and cell in (None, "", []):
            return None
        if name in self._documents:
            cell = self._documents[name].read(text(cell, column))
        if name in self.sentences:
            return self._wording.in_sentences(cell, column)
        return self._wording.of(cell, column)

    def _cut(self, example: Example) -> Example:
        """Only the first words of each text, and gold over them."""
        longest = self.words.longest
        if longest is None:
            return example

        def cut(value: Value) -> Any:
            if isinstance(value, list) and not isinstance(value[0], float):
                return value[:longest]
            return value

        inputs = {name: cut(value) for name, value in example.inputs.items()}
        target = example.target
        if target is not None:
            queries, keys = (Groups.same(size).cut(0, longest) for size in target.weights.shape)
            target = target.regroup_keys(keys).regroup_queries(queries)
        return replace(example, inputs=inputs, answer=cut(example.answer), target=target)

    @cached_property
    def _answer(self) -> AnswerColumn:
        return self.answer.build()

    @cached_property
    def _gold(self) -> GoldColumn | None:
        return None if self.gold is None else self.gold.build()

    @cached_property
    def _vectors(self) -> VectorFile | CountedVectors | None:
        return None if self.vectors is None else self.vectors.build()

    @cached_property
    def _wording(self) -> Wording:
        return Wording.by(self.words)

    @cached_property
    def _documents(self) -> dict[str, Documents]:
        folder = Path(self.folder)
        named = (self.documents or {}).items()
        return {name: Documents(folder / d, f"dataset.documents.{name}") for name, d in named}


def _text(example: Example, name: str) -> list[str]:
    return words_of(example.answer if name == ANSWER else example.inputs[name]) or []


@dataclass(frozen=True, kw_only=True)
class PlainText(Source):
    """Windows of so many units; an example has no answer besides its text.

    Shares are held out from the end: first comes training, then validation, then the test.
    """

    folder: str
    splits: Splits
    units: Literal["characters", "spaces", "punctuation"]
    lowercase: bool
    context: int
    stride: int | None
    tokenizer: Tokenizer

    def examples(self, split: Split) -> Iterator[Example]:
        units = self._part(split)
        step = self.stride or self.context if split == "train" else self.context
        starts = range(0, max(len(units) - self.context, 0) + 1, step)
        for number, start in enumerate(starts):
            window = units[start : start + self.context]
            if len(window) > 1:
                yield Example(f"{split}-{number}", {"text": window}, None, meta={"start": start})

    def require(self) -> None:
        for split in self.splits.named():
            self._files(split)

    def contents(self) -> str:
        return digest(path for split in self.splits.named() for path in self._files(split))

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        tokenizer: Fitter = self.tokenizer.build()
        return {"text": tokenizer.fit([self._part("train")])}

    def _part(self, split: Split) -> list[str]:
        """The units of a split: those of its own files, or its share of the training files."""
        held_out = self.splits.held_out()
        if split != "train" and split not in held_out:
            return self._units(split)
        units = self._training
        test = len(units) - round(held_out.get("test", 0.0) * len(units))
        val = test - round(held_out.get("val", 0.0) * len(units))
        return {"train": units[:val], "val": units[val:test], "test": units[test:]}[split]

    @cached_property
    def _training(self) -> list[str]:
        return self._units("train")

    def _units(self, split: str) -> list[str]:
        units: list[str] = []
        for path in self._files(split):
            with damage(path), opened(path) as file:
                text = file.read().replace("\r\n", "\n")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(f"{path}: not UTF-8")
            text = text.lower() if self.lowercase else text
            units += list(text) if self.units == "characters" else WORD[self.units].findall(text)
        return units

    def _files(self, split: str) -> list[Path]:
        where = self.splits.named()[split]
        assert isinstance(where, str)
        return find_files(Path(self.folder), where, f"dataset.splits.{split}")
