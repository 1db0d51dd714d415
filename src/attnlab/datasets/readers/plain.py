"""`PlainText`: long texts cut into windows, to be learned as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from attnlab.data.config import Tokenizer
from attnlab.data.example import Example, Source, Split
from attnlab.data.tokenizers import Fitter
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.config import Splits
from attnlab.datasets.readers.files import damage, digest, found, opened
from attnlab.datasets.readers.words import WORD
from attnlab.errors import UserError


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
        return found(Path(self.folder), where, f"dataset.splits.{split}")
