"""What columns mean: the answer, and where to look for it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from attnlab.config.section import Variant
from attnlab.datasets.readers.formats_config import READERS, Column


class Answer(Variant, slot="answer"):
    """Which column holds the answer, and of what form it is."""

    form: ClassVar[str]


class LabelAnswer(Answer, kind="label", target=f"{READERS}.answer_columns:LabelColumn"):
    """One label (task classify), or one item where an input is named `items` (task rank)."""

    form: ClassVar[str] = "label"

    column: Column = Field(description="holds the label")


class TextAnswer(Answer, kind="text", target=f"{READERS}.answer_columns:TextColumn"):
    """A text (task generate)."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds the text")


class TextsAnswer(Answer, kind="texts", target=f"{READERS}.answer_columns:FirstText"):
    """The first of several texts that say the same; `references` may name them all."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds a list of texts")


class MarkAnswer(Answer, kind="mark", target=f"{READERS}.answer_columns:MarkColumn"):
    """One of the words or sentences that are looked at (task extract)."""

    form: ClassVar[str] = "position"

    column: Column = Field(description="holds 0 or 1 for each of them, and 1 once")


class TagsAnswer(Answer, kind="tags", target=f"{READERS}.answer_columns:TagsColumn"):
    """A tag for each word (task tag): a list, or text with spaces in between."""

    form: ClassVar[str] = "units"

    column: Column = Field(description="holds the tags")


class NumberAnswer(Answer, kind="number", target=f"{READERS}.answer_columns:NumberColumn"):
    """One number (task regress)."""

    form: ClassVar[str] = "numbers"

    column: Column = Field(description="holds the number")


class NumbersAnswer(Answer, kind="numbers", target=f"{READERS}.answer_columns:NumberColumns"):
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


class NoAnswer(Answer, kind="none", target=f"{READERS}.answer_columns:NoColumn"):
    """The map is the answer (task attend)."""

    form: ClassVar[str] = "nothing"


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
