"""A user's own files as a dataset: where they are, how to read them, what their columns mean.

A reader makes rows of named columns, whatever the format; columns mean the same in every format.
`conf/dataset/files.yaml` and `conf/dataset/text.yaml` hold the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from attnlab.config.dataset import Dataset, Share
from attnlab.config.section import Name, Section
from attnlab.config.task import Extent
from attnlab.data.config import Tokenizer, Words
from attnlab.datasets.readers.columns_config import (
    READERS,
    Answer,
    Column,
    Gold,
    Hub,
    LinksGold,
    ObjectsAnswer,
    Reader,
    TextAnswer,
    TextsAnswer,
    Vectors,
)
from attnlab.errors import Mistake, UserError

MOST_COUNTED = 200_000  # rows, to choose settings by their number
Split = Literal["spaces", "punctuation", "characters", "unspaced"]
SPLIT = (
    "at white space; also around punctuation; every character on its own; or, besides at white "
    "space, every character of a script without spaces (Chinese, Japanese, Thai, ...)"
)


def _place_or_share(value: Any) -> Any:
    """One mistake where a value is none of those that are possible, instead of one for each."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str | dict) and not (number and 0 < value < 1):
        raise ValueError(f"{value!r} is neither a file nor a share between 0 and 1")
    return value


HeldOut = Annotated[float, Field(gt=0, lt=1)]
Where = Annotated[HeldOut | str | dict[str, str | None], BeforeValidator(_place_or_share)]


class Splits(Section):
    """Where the examples of each split are, relative to the dataset's folder; or, as a number, the
    share of the training rows that is held out: equal inputs never come apart."""

    train: str | dict[str, str | None] = Field(
        description="file (or part-*.csv, or data.zip/part.csv), a file for each column, or a "
        "split's name on the hub"
    )
    val: Where = Field(description="the same for validation, or a share of the training rows")
    test: Where = Field(description="the same for testing, or a share of the training rows")

    def named(self) -> dict[str, str | dict[str, str | None]]:
        """The splits that have files of their own."""
        files = {"train": self.train, "val": self.val, "test": self.test}
        return {split: where for split, where in files.items() if not isinstance(where, float)}

    def held_out(self) -> dict[str, float]:
        """The shares of the training rows that are validation and test."""
        files = {"val": self.val, "test": self.test}
        return {split: where for split, where in files.items() if isinstance(where, float)}


class WordRules(Section):
    """How texts become words: the units that gold counts."""

    split: Split = Field(description=SPLIT)
    lists: Literal["words", "texts"] = Field(
        description="what a list in a column is made of: words, taken as they are, or texts, read "
        "one after the other"
    )
    lowercase: bool = Field(description="all in lower case")
    longest: int | None = Field(
        gt=0, description="words kept of a text, or sentences of one read so; null is all"
    )


def refuse_letters(tokenizer: Tokenizer) -> None:
    """Raise a ValueError for `letters` on a text that is also an output."""
    if isinstance(tokenizer, Words) and tokenizer.letters:
        raise ValueError("tokenizer.letters is for texts that are read alone; try letters=false")


class Rows(Dataset):
    """Splits whose rows become examples one by one."""

    folder: str = Field(description="what the paths below are relative to")
    splits: Splits
    reader: Reader
    limit: int | None = Field(gt=0, description="rows read of each split; null is all")
    fold: int = Field(ge=0, description="which part is held out, where a split is a share")
    bad_rows: Share = Field(
        description="share of a split's rows that may be unusable; with more the run stops"
    )

    @model_validator(mode="after")
    def _splits_that_the_reader_takes(self) -> Self:
        for split, where in self.splits.named().items():
            if isinstance(where, dict) != self.reader.by_column:
                kind = self.reader.kind
                raise ValueError(f"splits.{split}: reader '{kind}' takes {self.reader.takes}")
        return self

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if sum(self.splits.held_out().values()) >= 1:
            raise ValueError("the shares of val and test leave nothing to train on")
        return self

    def _training_rows(self) -> list[Mapping[str, Any]]:
        """What training files hold, row by row; none where that cannot be read, or takes long."""
        if isinstance(self.reader, Hub):
            return []
        try:
            reader = self.reader.build()
            rows = reader.rows(Path(self.folder), self.splits.train, "dataset.splits.train")
            return [row.values for row in islice(rows, self.limit or MOST_COUNTED)]
        except (UserError, OSError):  # reported when the data are prepared
            return []


class Files(Rows, kind="files", target=f"{READERS}.texts:FileSource"):
    """A user's own files of texts."""

    inputs: dict[Name, Column] = Field(min_length=1, description="input -> column that holds it")
    documents: dict[str, str] | None = Field(
        description="input -> folder (also within a .zip) of the files that its column names; "
        "null where the columns hold all texts"
    )
    sentences: list[str] = Field(
        description="inputs whose sentences are attended to, each as one, instead of their words: "
        "the lines of a text, or a list of texts"
    )
    optional: list[str] = Field(
        description="inputs that a row may lack; a row that lacks another one is unusable"
    )
    attended: str = Field(description="the input whose words or sentences are attended to")
    answer: Answer
    references: Column | None = Field(
        description="column of texts, one or a list, that generated or extracted text is compared "
        "with; null compares it with the answer"
    )
    gold: Gold | None
    words: WordRules
    tokenizer: Tokenizer
    vectors: Vectors | None

    @property
    def answer_form(self) -> str:
        form = self.answer.form
        return "item" if form == "label" and "items" in self.inputs else form

    @property
    def answers_each_unit(self) -> bool:
        return self.answer.kind == "tags"

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        """Word vectors have the width of the model's."""
        yield from super().mistakes(config)
        width, known = self.vectors and self.vectors.width(), config.model.word_width
        if width and known and width != known[1]:
            key, own = known
            problem = f"{width} numbers a word, where the model has {own}"
            yield Mistake("dataset.vectors", problem, f"try: {key}={width}")

    @property
    def without_gold(self) -> str:
        if self.gold is not None:
            return ""
        kinds = " | ".join(Gold.kinds())
        return f"dataset.gold is null; to give it: dataset/gold={kinds} dataset.gold.column=COLUMN"

    def extent(self) -> Extent | None:
        if self.sentences or self.documents:
            return None
        read = self._training_rows()
        texts = [text for each in read if (text := each.get(self.inputs[self.attended]))]
        tags = [each.get(getattr(self.answer, "column", "")) for each in read]
        return Extent.of(texts, tags, 1 - sum(self.splits.held_out().values())) if texts else None

    @property
    def one_vocabulary(self) -> bool:
        return self.tokenizer.joint

    @property
    def may_lack(self) -> set[str]:
        return super().may_lack | set(self.optional)

    @model_validator(mode="after")
    def _inputs_that_are_there(self) -> Self:
        named = (self.attended, *(self.documents or {}), *self.sentences, *self.optional)
        for name in named:
            if name not in self.inputs:
                raise ValueError(f"no input '{name}'; there are: {', '.join(self.inputs)}")
        if self.attended in self.optional:
            raise ValueError(f"optional: '{self.attended}' is attended to; no row may lack it")
        return self

    @model_validator(mode="after")
    def _vectors_of_words(self) -> Self:
        words = isinstance(self.tokenizer, Words) and self.tokenizer.digits
        if self.vectors is not None and (not words or self.tokenizer.joint):
            raise ValueError(
                "vectors are of words as they stand, each input's own: "
                "tokenizer 'words' with digits=true and joint=false"
            )
        return self

    @model_validator(mode="after")
    def _letters_of_what_is_read(self) -> Self:
        if isinstance(self.answer, TextAnswer | TextsAnswer) or "items" in self.inputs:
            refuse_letters(self.tokenizer)
        return self

    @model_validator(mode="after")
    def _answers_about_texts(self) -> Self:
        if isinstance(self.answer, ObjectsAnswer):
            raise ValueError(f"answer '{self.answer.kind}' goes with pictures (dataset=pictures)")
        return self

    @model_validator(mode="after")
    def _links_between_two_texts(self) -> Self:
        if isinstance(self.gold, LinksGold) and not isinstance(self.answer, TextAnswer):
            raise ValueError("links go from an input to an answer of kind 'text'")
        return self


class PlainText(Dataset, kind="text", target=f"{READERS}.texts:PlainText"):
    """Long texts cut into windows, to be learned as they stand (task language_model)."""

    answers: ClassVar[str | None] = "nothing"

    folder: str = Field(description="what the paths below are relative to")
    splits: Splits
    units: Literal["characters", "spaces", "punctuation"] = Field(
        description="what a text is made of: characters, white space among them; words at white "
        "space; words and punctuation"
    )
    lowercase: bool = Field(description="all in lower case")
    context: int = Field(gt=1, description="units of a window")
    stride: int | None = Field(
        gt=0, description="units between the starts of two windows of training; null: no overlap"
    )
    tokenizer: Tokenizer

    @property
    def without_gold(self) -> str:
        return "a text has no gold maps"

    @model_validator(mode="after")
    def _one_text_a_split(self) -> Self:
        refuse_letters(self.tokenizer)
        if any(isinstance(where, dict) for where in self.splits.named().values()):
            raise ValueError("splits: takes a file, or a pattern of files, for each split")
        if sum(self.splits.held_out().values()) >= 1:
            raise ValueError("the shares of val and test leave nothing to train on")
        return self
