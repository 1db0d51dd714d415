"""A user's own files as a dataset: where they are, how to read them, what their columns mean.

Whatever the format, a reader makes rows of named columns; what the columns mean is said once, the
same way for every format. `conf/dataset/files.yaml` and `conf/dataset/reader/` hold the defaults.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Dataset, Share
from attnlab.config.section import Section, Variant
from attnlab.config.tokenizer import Tokenizer, Words
from attnlab.config.vectors import Vectors

READERS = "attnlab.datasets.readers"
Column = Annotated[str, Field(min_length=1)]
HeldOut = Annotated[float, Field(gt=0, lt=1)]
Where = HeldOut | str | dict[str, str | None]


class Reader(Variant, slot="reader"):
    """How files become rows."""

    takes: ClassVar[str] = "a file"  # what `splits` has to name
    by_column: ClassVar[bool] = False  # whether that is a file for each column


class Csv(Reader, kind="csv", target=f"{READERS}.table:CsvReader"):
    """Comma- or tab-separated values; a row may run over several lines where it is quoted."""

    delimiter: str = Field(min_length=1, max_length=1, description="what stands between cells")
    quote: str | None = Field(max_length=1, description="what cells are quoted with; null is none")
    header: list[Column] | None = Field(
        description="names of the columns, where the file does not begin with them"
    )


class Jsonl(Reader, kind="jsonl", target=f"{READERS}.jsonl:JsonlReader"):
    """One JSON object a line; its keys are the columns."""


class Parquet(Reader, kind="parquet", target=f"{READERS}.parquet:ParquetReader"):
    """Parquet files, read batch by batch (needs pyarrow: attnlab[files])."""

    batch: int = Field(gt=0, description="rows in memory at the same time")


class Lines(Reader, kind="lines", target=f"{READERS}.lines:LinesReader"):
    """Several files side by side, line by line: text pairs, alignments, scores."""

    takes: ClassVar[str] = "a file for each column"
    by_column: ClassVar[bool] = True


class Idx(Reader, kind="idx", target=f"{READERS}.idx:IdxReader"):
    """Arrays side by side in the format of MNIST: pictures in one file, labels in another."""

    takes: ClassVar[str] = "a file for each column"
    by_column: ClassVar[bool] = True


class Listing(Reader, kind="listing", target=f"{READERS}.listing:ListingReader"):
    """The files of a folder or .zip themselves; what stands in their names becomes columns."""

    takes: ClassVar[str] = "a pattern of files"
    pattern: str | None = Field(
        description="names with columns in braces: {label}/{id}.png; null is column `file` alone"
    )


class Mapping(Reader, kind="mapping", target=f"{READERS}.mapping:MappingReader"):
    """A JSON file that holds one object; each of its entries is a row."""

    key: Column = Field(description="name of the column of keys")
    value: Column = Field(description="name of the column of values")


class Coco(Reader, kind="coco", target=f"{READERS}.coco:CocoReader"):
    """COCO's instances.json: a row for each picture.

    Its columns: file, objects (for answers boxes and masks), label (the category with the most
    area in the picture), boxes (of the objects with that label).
    """


class Conll(Reader, kind="conll", target=f"{READERS}.conll:ConllReader"):
    """One word a line with its columns, an empty line after each sentence."""

    columns: list[Column | None] = Field(
        min_length=1, description="names of the columns, left to right; null is left out"
    )
    separator: str | None = Field(description="what stands between columns; null is white space")
    closing: Column | None = Field(
        description="column that holds a sentence's last line, where that has a single field"
    )
    comment: str | None = Field(description="how lines begin that are left out; null is none")


class Babi(Reader, kind="babi", target=f"{READERS}.babi:BabiReader"):
    """bAbI's stories with questions in between (Weston et al. 2016): a row is a question.

    Its columns: story (a list of sentences), question, answer, supporting.
    """


class Trees(Reader, kind="trees", target=f"{READERS}.trees:TreesReader"):
    """Bracketed trees with a label at every phrase (Socher et al. 2013), one a line."""

    phrases: list[str] = Field(
        description="splits in which every phrase is a row; in others whole sentences are"
    )
    labels: dict[str, str | None] = Field(
        description="label in the file -> label to learn; null leaves such phrases out"
    )
    phrase_labels: dict[str, str | None] = Field(
        description="those that differ from `labels` where every phrase is a row"
    )


class Hub(Reader, kind="hub", target=f"{READERS}.hub:HubReader"):
    """A dataset of the Hugging Face hub, or a folder of one: a copy, or what `save_to_disk` wrote.

    Sets that a script describes are read as the hub converted them: revision=refs/convert/parquet.
    (Needs datasets: attnlab[hub].)
    """

    takes: ClassVar[str] = "a split's name"
    id: str = Field(min_length=1, description="such as owner/name, or a folder")
    config: str | None = Field(description="the configuration's name, where there are several")
    revision: str | None = Field(description="commit to read, so that the data stay the same")
    numbers: list[Column] = Field(
        description="columns of classes whose numbers are taken in place of their names"
    )


class Answer(Variant, slot="answer"):
    """Which column holds the answer, and of what form it is."""


class LabelAnswer(Answer, kind="label", target=f"{READERS}.columns:LabelColumn"):
    """One label (task classify), or one item where an input is named `items` (task rank)."""

    column: Column = Field(description="holds the label")


class TextAnswer(Answer, kind="text", target=f"{READERS}.columns:TextColumn"):
    """A text (task generate)."""

    column: Column = Field(description="holds the text")


class TextsAnswer(Answer, kind="texts", target=f"{READERS}.columns:FirstText"):
    """The first of several texts that say the same; `references` may name them all."""

    column: Column = Field(description="holds a list of texts")


class MarkAnswer(Answer, kind="mark", target=f"{READERS}.columns:MarkColumn"):
    """One of the words or sentences that are looked at (task extract)."""

    column: Column = Field(description="holds 0 or 1 for each of them, and 1 once")


class TagsAnswer(Answer, kind="tags", target=f"{READERS}.columns:TagsColumn"):
    """A tag for each word (task tag): a list, or text with spaces in between."""

    column: Column = Field(description="holds the tags")


class ObjectsAnswer(Answer):
    """Objects in a picture, each where it is."""

    column: Column = Field(description="holds the objects, as dataset/reader=coco gives them")


class BoxesAnswer(ObjectsAnswer, kind="boxes", target=f"{READERS}.objects:BoxesColumn"):
    """A box and a category for each object (task locate); they are gold maps as well."""


class MasksAnswer(ObjectsAnswer, kind="masks", target=f"{READERS}.objects:MasksColumn"):
    """A category for each pixel (task segment); what is marked is the gold map as well."""


class NoAnswer(Answer, kind="none", target=f"{READERS}.columns:NoColumn"):
    """The map is the answer (task attend)."""


class Gold(Variant, slot="gold"):
    """Which column says where to look."""

    column: Column = Field(description="holds the gold; a row where it is empty has none")


class SpansGold(Gold, kind="spans", target=f"{READERS}.gold:Spans"):
    """Marked stretches, exclusive ends: "3:7 10:12", [[3, 7]], or objects, however deep."""

    keys: list[Column] | None = Field(
        min_length=2, max_length=2, description="keys of an object's first unit and its end"
    )
    counts: Literal["words", "characters"] = Field(description="what the numbers count")


class QuotesGold(Gold, kind="quotes", target=f"{READERS}.gold:Quotes"):
    """Passages of the text that is looked at, in its own words: a text, or a list of texts."""


class MarksGold(Gold, kind="marks", target=f"{READERS}.gold:Marks"):
    """0 or 1 for each word."""


class ScoresGold(Gold, kind="scores", target=f"{READERS}.gold:Scores"):
    """A number for each word, such as reading time; or a list of such lists, one a reader."""


class LinksGold(Gold, kind="links", target=f"{READERS}.gold:LinkedWords"):
    """Word alignment, as in "0-0 1-2 3p2" or [[0, 0], [1, 2]]; `p` marks links that are possible.

    The words of the answer look at those of the input.
    """

    base: Literal[0, 1] = Field(description="the number of the first word")
    first: Literal["input", "answer"] = Field(description="whose word a link's first number counts")


class FactsGold(Gold, kind="facts", target=f"{READERS}.gold:Facts"):
    """Numbers of the words or sentences that lead to the answer, one after the other: "3 6".

    Each is a row of the gold map, in their order: what is looked at first, second, ...
    """

    base: Literal[0, 1] = Field(description="the number of the first one")


class Splits(Section):
    """Where the examples of each split are, relative to the dataset's folder.

    A number is a share of the training rows that is held out: equal inputs never come apart.
    """

    train: str | dict[str, str | None] = Field(
        description="file (or part-*.csv, or data.zip/part.csv), a file for each column, or a "
        "split's name on the hub"
    )
    val: Where = Field(description="the same for validation, or a share of the training rows")
    test: Where = Field(description="the same for testing, or a share of the training rows")

    def named(self) -> dict[str, str | dict[str, str | None]]:
        """The splits that have files of their own."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: where for split, where in given.items() if not isinstance(where, float)}

    def held_out(self) -> dict[str, float]:
        """The shares of the training rows that are validation and test."""
        given = {"val": self.val, "test": self.test}
        return {split: where for split, where in given.items() if isinstance(where, float)}


class WordRules(Section):
    """How texts become words: the units that gold counts."""

    split: Literal["spaces", "punctuation", "characters"] = Field(
        description="at white space; also around punctuation; or every character on its own"
    )
    lists: Literal["words", "texts"] = Field(
        description="what a list in a column is made of: words, taken as they are, or texts, read "
        "one after the other"
    )
    lowercase: bool = Field(description="all in lower case")
    longest: int | None = Field(
        gt=0, description="words kept of a text, or sentences of one read so; null is all"
    )


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


class Files(Rows, kind="files", target=f"{READERS}.source:FileSource"):
    """A user's own files of texts."""

    inputs: dict[str, Column] = Field(min_length=1, description="input -> column that holds it")
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
    def may_lack(self) -> set[str]:
        return super().may_lack | set(self.optional)

    @model_validator(mode="after")
    def _inputs_that_are_there(self) -> Self:
        named = (self.attended, *(self.documents or {}), *self.sentences, *self.optional)
        for name in named:
            if name not in self.inputs:
                raise ValueError(f"no input '{name}'; there are: {', '.join(self.inputs)}")
        if self.attended in self.optional:
            raise ValueError(f"optional: '{self.attended}' is looked at; no row may lack it")
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
    def _answers_about_texts(self) -> Self:
        if isinstance(self.answer, ObjectsAnswer):
            raise ValueError(f"answer '{self.answer.kind}' goes with pictures (dataset=pictures)")
        return self

    @model_validator(mode="after")
    def _links_between_two_texts(self) -> Self:
        if isinstance(self.gold, LinksGold) and not isinstance(self.answer, TextAnswer):
            raise ValueError("links go from an input to an answer of kind 'text'")
        return self
