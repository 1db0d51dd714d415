"""What files hold: their format, what their columns mean, and vectors of words."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from attnlab.config.section import Variant
from attnlab.datasets.readers.files import find_files, lines
from attnlab.errors import UserError

READERS = "attnlab.datasets.readers"
Column = Annotated[str, Field(min_length=1)]


class Reader(Variant, slot="reader"):
    """How files become rows."""

    takes: ClassVar[str] = "a file"  # what `splits` has to name
    by_column: ClassVar[bool] = False  # whether that is a file for each column


class Csv(Reader, kind="csv", target=f"{READERS}.tables:CsvReader"):
    """Comma- or tab-separated values; a row may run over several lines where it is quoted."""

    delimiter: str = Field(min_length=1, max_length=1, description="what stands between cells")
    quote: str | None = Field(max_length=1, description="what cells are quoted with; null is none")
    header: list[Column] | None = Field(
        description="names of the columns, where the file does not begin with them"
    )


class Jsonl(Reader, kind="jsonl", target=f"{READERS}.tables:JsonlReader"):
    """One JSON object a line; its keys are the columns."""


class Parquet(Reader, kind="parquet", target=f"{READERS}.tables:ParquetReader"):
    """Parquet files, read batch by batch (needs pyarrow: attnlab[files])."""

    batch: int = Field(gt=0, description="rows in memory at the same time")


class Lines(Reader, kind="lines", target=f"{READERS}.parallel:LinesReader"):
    """Several files side by side, line by line: text pairs, alignments, scores."""

    takes: ClassVar[str] = "a file for each column"
    by_column: ClassVar[bool] = True


class Idx(Reader, kind="idx", target=f"{READERS}.parallel:IdxReader"):
    """Arrays side by side in the format of MNIST: pictures in one file, labels in another."""

    takes: ClassVar[str] = "a file for each column"
    by_column: ClassVar[bool] = True


class Listing(Reader, kind="listing", target=f"{READERS}.media:ListingReader"):
    """Each file of a folder or .zip is a row; the parts of its name are columns."""

    takes: ClassVar[str] = "a pattern of files"
    pattern: str | None = Field(
        description="names with columns in braces: {label}/{id}.png; null is column `file` alone"
    )


class Mapping(Reader, kind="mapping", target=f"{READERS}.tables:MappingReader"):
    """A JSON file that holds one object; each of its entries is a row."""

    key: Column = Field(description="name of the column of keys")
    value: Column = Field(description="name of the column of values")


class Coco(Reader, kind="coco", target=f"{READERS}.corpora:CocoReader"):
    """COCO's instances.json: a row for each picture.

    Its columns: file, objects (for answers boxes and masks), label (the category with the most
    area in the picture), boxes (of the objects with that label).
    """


class Conll(Reader, kind="conll", target=f"{READERS}.corpora:ConllReader"):
    """One word a line with its columns, an empty line after each sentence."""

    columns: list[Column | None] = Field(
        min_length=1, description="names of the columns, left to right; null is left out"
    )
    separator: str | None = Field(description="what stands between columns; null is white space")
    closing: Column | None = Field(
        description="column that holds a sentence's last line, where that has a single field"
    )
    comment: str | None = Field(description="how lines begin that are left out; null is none")


class Babi(Reader, kind="babi", target=f"{READERS}.corpora:BabiReader"):
    """bAbI's stories with questions in between (Weston et al. 2016): a row is a question.

    Its columns: story (a list of sentences), question, answer, supporting.
    """


class Trees(Reader, kind="trees", target=f"{READERS}.corpora:TreesReader"):
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


class Hub(Reader, kind="hub", target=f"{READERS}.tables:HubReader"):
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

    form: ClassVar[str]


class LabelAnswer(Answer, kind="label", target=f"{READERS}.words:LabelColumn"):
    """One label (task classify), or one item where an input is named `items` (task rank)."""

    form: ClassVar[str] = "label"

    column: Column = Field(description="holds the label")


class TextAnswer(Answer, kind="text", target=f"{READERS}.words:TextColumn"):
    """A text (task generate)."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds the text")


class TextsAnswer(Answer, kind="texts", target=f"{READERS}.words:FirstText"):
    """The first of several texts that say the same; `references` may name them all."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds a list of texts")


class MarkAnswer(Answer, kind="mark", target=f"{READERS}.words:MarkColumn"):
    """One of the attended words or sentences (task extract)."""

    form: ClassVar[str] = "position"

    column: Column = Field(description="holds 0 or 1 for each of them, and 1 once")


class TagsAnswer(Answer, kind="tags", target=f"{READERS}.words:TagsColumn"):
    """A tag for each word (task tag): a list, or text with spaces in between."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds the tags")


class NumberAnswer(Answer, kind="number", target=f"{READERS}.words:NumberColumn"):
    """One number (task regress)."""

    form: ClassVar[str] = "numbers"

    column: Column = Field(description="holds the number")


class NumbersAnswer(Answer, kind="numbers", target=f"{READERS}.words:NumberColumns"):
    """Several numbers (task regress)."""

    form: ClassVar[str] = "numbers"

    columns: list[Column] = Field(min_length=1, description="hold a number each")


class ObjectsAnswer(Answer):
    """Objects in a picture, each where it is."""

    column: Column = Field(description="holds the objects, as dataset/reader=coco gives them")


class BoxesAnswer(ObjectsAnswer, kind="boxes", target=f"{READERS}.objects:BoxesColumn"):
    """A box and a category for each object (task locate); they are gold maps as well."""

    form: ClassVar[str] = "boxes"


class MasksAnswer(ObjectsAnswer, kind="masks", target=f"{READERS}.objects:MasksColumn"):
    """A category for each pixel (task segment); what is marked is the gold map as well."""

    form: ClassVar[str] = "pixels"


class NoAnswer(Answer, kind="none", target=f"{READERS}.words:NoColumn"):
    """The map is the answer (task attend)."""

    form: ClassVar[str] = "nothing"


class Gold(Variant, slot="gold"):
    """Which column says where to look."""

    column: Column = Field(description="holds the gold; a row where it is empty has none")


class SpansGold(Gold, kind="spans", target=f"{READERS}.gold:Spans"):
    """Marked stretches, exclusive ends: "3:7 10:12", [[3, 7]], or objects, however deep; of
    several annotators, by their names: {"ann": "3:7", "ben": [[3, 8]]}."""

    keys: list[Column] | None = Field(
        min_length=2, max_length=2, description="keys of an object's first unit and its end"
    )
    counts: Literal["words", "characters"] = Field(description="what the numbers count")


class QuotesGold(Gold, kind="quotes", target=f"{READERS}.gold:Quotes"):
    """Passages of the attended text, in its own words: a text, or a list of texts; of
    several annotators, by their names."""


class MarksGold(Gold, kind="marks", target=f"{READERS}.gold:Marks"):
    """0 or 1 for each word; or a list of such lists, one an annotator."""


class ScoresGold(Gold, kind="scores", target=f"{READERS}.gold:Scores"):
    """A number for each word, such as reading time; or a list of such lists, one a reader."""


class LinksGold(Gold, kind="links", target=f"{READERS}.gold:LinkedWords"):
    """Word alignment, as in "0-0 1-2 3p2" or [[0, 0], [1, 2]]; `p` marks links that are possible.

    The words of the answer attend to those of the input.
    """

    base: Literal[0, 1] = Field(description="the number of the first word")
    first: Literal["input", "answer"] = Field(description="whose word a link's first number counts")


class FactsGold(Gold, kind="facts", target=f"{READERS}.gold:Facts"):
    """Numbers of the words or sentences that lead to the answer, one after the other: "3 6".

    Each is a row of the gold map, in their order: what is attended to first, second, ...
    """

    base: Literal[0, 1] = Field(description="the number of the first one")


class Vectors(Variant, slot="vectors"):
    """A vector for each word; words that have one are known, in training or not."""

    size: int | None = Field(gt=0, description="words at most, the first or most frequent ones")

    def width(self) -> int | None:
        """Numbers of a vector; None where they are not known before the vectors are read."""
        return getattr(self, "dim", None)


class FileVectors(Vectors, kind="file", target=f"{READERS}.vectors:VectorFile"):
    """As GloVe, word2vec and fastText publish theirs: a word and its numbers on each line."""

    path: str = Field(min_length=1, description="the file, packed (.gz, .zip/inner) or not")

    def width(self) -> int | None:
        try:
            first = islice(lines(find_files(Path(), self.path, "dataset.vectors.path")[0]), 2)
            return max((len(line.split(" ")) for line in map(str.rstrip, first)), default=1) - 1
        except (UserError, OSError):  # reported when the data are prepared
            return None


class CountedVectors(Vectors, kind="counted", target=f"{READERS}.vectors:CountedVectors"):
    """Made here: which words stand near which, in training and in texts without labels."""

    texts: list[str] = Field(
        description="more texts, line by line: files, patterns (part-*.txt), docs.zip/inner/*"
    )
    dim: int = Field(gt=1, description="numbers of a vector")
    window: int = Field(gt=0, description="words to each side that count as near")
    at_least: int = Field(ge=1, description="times that a word has to occur to get a vector")
