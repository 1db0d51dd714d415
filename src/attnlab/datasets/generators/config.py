"""The embedded datasets: how many examples each makes, and how hard they are."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from attnlab.config.dataset import Dataset, Share

Size = Annotated[int, Field(ge=0)]
GeneratedT = TypeVar("GeneratedT", bound="Generated")

MOST_COMBINATIONS = 1_000_000
CANVAS_SHARE = 4  # canvas that each digit needs, in digits: so much room that places are found fast


class Generated(Dataset):
    """A dataset made from a seed: any size, no network, the same on every machine."""

    train: Size = Field(description="number of training examples")
    val: Size = Field(description="number of validation examples")
    test: Size = Field(description="number of test examples")
    seed: int = Field(ge=0, description="what the examples are drawn from")

    @property
    def answers_each_unit(self) -> bool:
        return False


def _in_order(section: GeneratedT, low: str, high: str) -> GeneratedT:
    """The section, if its range is one."""
    if getattr(section, low) > getattr(section, high):
        raise ValueError(f"{low} is above {high}")
    return section


class Dates(Generated, kind="dates", target="attnlab.datasets.generators.dates:Dates"):
    """Dates as people write them, in many languages, to be rewritten as YYYY-MM-DD."""

    answers: ClassVar[str | None] = "units"

    locales: list[str] = Field(
        min_length=1, description="languages (and countries) by CLDR name: en, pt, en_GB, zh_Hant"
    )
    styles: list[
        Literal["full", "long", "medium", "short", "abbreviated", "numeric", "numeric_weekday"]
    ] = Field(
        min_length=1,
        description="CLDR's four lengths; 'abbreviated' is weekday and month cut short, 'numeric' "
        "digits alone, 'numeric_weekday' digits after a weekday",
    )
    first_year: int = Field(ge=1000, le=9999, description="first year that dates are drawn from")
    last_year: int = Field(ge=1000, le=9999, description="last year that dates are drawn from")
    two_digit_years: Share = Field(
        description="share of the dates that leave out the century where it can be inferred"
    )
    two_digit_start: int = Field(
        ge=1000,
        le=9900,
        description="first of the hundred years that may be written with two digits",
    )
    native_digits: Share = Field(
        description="share of the dates in the language's own digits, where it has any"
    )
    ordinals: Share = Field(
        description="share of the dates with a day like '5th', in languages that write it so"
    )
    case_changes: Share = Field(description="share of the dates all in upper or all in lower case")

    @model_validator(mode="after")
    def _years_in_order(self) -> Self:
        return _in_order(self, "first_year", "last_year")


class Reviews(Generated, kind="reviews", target="attnlab.datasets.generators.reviews:Reviews"):
    """Reviews, positive or negative by a few marked words."""

    answers: ClassVar[str | None] = "label"

    min_sentences: int = Field(ge=1, description="shortest review, in sentences")
    max_sentences: int = Field(ge=1, description="longest review, in sentences")
    opinions: int = Field(
        ge=1, description="most sentences in which the writer says what they think; one at least"
    )
    distractors: int = Field(
        ge=0, description="most sentences that say what others think, which does not count"
    )
    negation: Share = Field(description="share of the opinions that deny the opposite")

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Self:
        return _in_order(self, "min_sentences", "max_sentences")


class Ratings(Generated, kind="ratings", target="attnlab.datasets.generators.ratings:Ratings"):
    """Reviews with scores, of which the writer's own have to be averaged."""

    answers: ClassVar[str | None] = "numbers"

    scores: int = Field(ge=1, description="most scores that the writer gives; one at least")
    distractors: int = Field(ge=0, description="most other sentences with a number")
    highest: int = Field(ge=1, description="greatest number that occurs; the least is 0")


class Induction(Generated, kind="induction", target="attnlab.datasets.generators.recall:Induction"):
    """Texts in which what followed a key before follows it again."""

    answers: ClassVar[str | None] = "nothing"

    length: int = Field(ge=4, description="units of a text")
    pairs: int = Field(ge=1, description="different keys, each with a value in each text")
    values: int = Field(ge=2, description="different values there are")
    fillers: int = Field(ge=1, description="different units that mean nothing")
    density: float = Field(gt=0, le=1, description="chance of a pair, not a filler, to come next")


class Support(Generated, kind="support", target="attnlab.datasets.generators.support:Support"):
    """Talks with customer service, whose last reply is to be written or found."""

    answers: ClassVar[str | None] = "units"

    digits: int = Field(ge=1, le=8, description="digits of an order's number")
    asides: int = Field(
        ge=0, le=5, description="most remarks on other orders, items and days, which do not count"
    )


class Recall(Generated, kind="recall", target="attnlab.datasets.generators.recall:Recall"):
    """Which value stood beside this key, somewhere in a long sequence?"""

    answers: ClassVar[str | None] = "label"

    length: int = Field(ge=4, description="symbols in a sequence, the question included")
    pairs: int = Field(ge=1, description="keys with a value in each sequence")
    keys: int = Field(ge=1, description="different keys there are")
    values: int = Field(ge=2, description="different values there are, which are the labels")
    fillers: int = Field(ge=1, description="different symbols that mean nothing")

    @model_validator(mode="after")
    def _pairs_fit(self) -> Self:
        if self.pairs > self.keys:
            raise ValueError(f"{self.pairs} pairs need as many keys, not {self.keys}")
        if 2 * self.pairs > self.length - 2:
            raise ValueError(f"{self.pairs} pairs need a length of {2 * self.pairs + 2} or more")
        return self


class Haystack(Generated, kind="haystack", target="attnlab.datasets.generators.haystack:Haystack"):
    """Facts hidden in prose of any length, and a question that some of them answer."""

    answers: ClassVar[str | None] = "label"

    length: int = Field(ge=32, description="words of a text, the question included")
    hops: Literal[1, 2, 3] = Field(
        description="most facts that an answer takes; questions of fewer are mixed in"
    )
    distractors: int = Field(ge=0, le=15, description="other people with facts of the same form")
    prose: str | None = Field(
        min_length=1, description="text file to hide facts in; null makes sentences up"
    )

    @model_validator(mode="after")
    def _facts_fit(self) -> Self:
        least = 8 * self.hops * (self.distractors + 1) + 7  # words of facts and of a question
        if self.length < least:
            raise ValueError(f"so many facts need a length of {least} or more")
        return self


class Baskets(Generated, kind="baskets", target="attnlab.datasets.generators.baskets:Baskets"):
    """Item sequences in which a few known items decide what comes next."""

    answers: ClassVar[str | None] = "item"

    min_length: int = Field(ge=1, description="shortest basket, in items")
    max_length: int = Field(ge=1, description="longest basket, in items")
    catalogue: int = Field(ge=2, description="plain items, which decide nothing and may follow")
    causes: int = Field(ge=1, le=4, description="items that together decide the next one")
    variants: int = Field(ge=2, le=100, description="different items in each deciding family")
    decoys: int = Field(ge=0, description="most deciding items that a later one overrules")
    popularity: float = Field(ge=0, description="Zipf exponent of plain items; 0: all alike")

    @model_validator(mode="after")
    def _causes_fit(self) -> Self:
        if self.causes > self.min_length:
            raise ValueError(f"{self.causes} causes do not fit into {self.min_length} items")
        if self.variants**self.causes > MOST_COMBINATIONS:
            raise ValueError(f"more than {MOST_COMBINATIONS} combinations of causes")
        return _in_order(self, "min_length", "max_length")


class Scattered(Generated):
    """What the datasets of digits on a canvas share."""

    size: int = Field(ge=16, description="height and width of the canvas in pixels; a digit has 8")
    min_digits: int = Field(ge=1, le=10, description="fewest digits on a canvas")
    max_digits: int = Field(ge=1, le=10, description="most digits on a canvas, all different")
    clutter: int = Field(ge=0, description="scraps of other digits strewn between the digits")
    noise: float = Field(ge=0, description="standard deviation of the noise; ink is about 0.6")

    @model_validator(mode="after")
    def _digits_fit(self) -> Self:
        if self.max_digits * CANVAS_SHARE * 8 * 8 > self.size**2:
            least = math.ceil(8 * math.sqrt(self.max_digits * CANVAS_SHARE))
            raise ValueError(f"{self.max_digits} digits need a canvas of {least} pixels or more")
        return _in_order(self, "min_digits", "max_digits")


VIEWS: dict[str, str] = {
    "classify": "label",
    "locate": "boxes",
    "segment": "pixels",
    "attend": "nothing",
    "caption": "units",
    "point": "nothing",
}


class Canvas(Scattered, kind="canvas", target="attnlab.datasets.generators.canvas:Canvas"):
    """Digits on a cluttered canvas, asked about in several ways."""

    task_view: Literal["classify", "locate", "segment", "attend", "caption", "point"] = Field(
        description="what is asked: the highest digit, all boxes with their digits, the digit of "
        "each pixel, where observers look, what stands where in words, or where the digit is that "
        "a phrase speaks of"
    )
    observers: int = Field(ge=1, description="observers whose fixations make the map of 'attend'")
    blur: float = Field(
        gt=0, description="standard deviation, in pixels, of the blur of fixations in 'attend'"
    )

    @property
    def answer_form(self) -> str:
        return VIEWS[self.task_view]


class Questions(
    Scattered, kind="questions", target="attnlab.datasets.generators.questions:Questions"
):
    """Questions about a canvas, such as which digit is next left of the 3."""

    answers: ClassVar[str | None] = "label"

    relations: list[Literal["left", "right", "above", "below"]] = Field(
        min_length=1, description="the relations that are asked about"
    )
    hops: Literal[1, 2] = Field(
        description="rows of gold: 1 is the box of the digit that answers; 2 has that of the digit "
        "asked about before it, for task.hops=2"
    )

    @model_validator(mode="after")
    def _somebody_to_ask_about(self) -> Self:
        if self.min_digits < 2:
            raise ValueError("a question needs min_digits of 2 or more")
        return self


class Tones(Generated, kind="tones", target="attnlab.datasets.generators.tones:Tones"):
    """Telephone keypad tones in noise, to be written down as the keys pressed."""

    answers: ClassVar[str | None] = "units"

    keys: str = Field(
        min_length=1, pattern=r"^[0-9A-D*#]+$", description="the keys that may be pressed"
    )
    min_keys: int = Field(ge=1, description="fewest keys pressed")
    max_keys: int = Field(ge=1, description="most keys pressed")
    sample_rate: int = Field(ge=3400, description="samples a second; the highest tone is 1633 Hz")
    hop: int = Field(ge=1, description="samples between two frames, in which the target is given")
    min_tone_ms: int = Field(ge=20, description="shortest press of a key, in milliseconds")
    max_tone_ms: int = Field(ge=20, description="longest press of a key, in milliseconds")
    min_gap_ms: int = Field(ge=0, description="shortest silence before, between and after keys")
    max_gap_ms: int = Field(ge=0, description="longest silence before, between and after keys")
    snr_db: float = Field(description="power of the tones over that of the noise, in decibel")
    detune: float = Field(ge=0, le=0.05, description="largest relative error of a frequency")

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Self:
        for what in ("keys", "tone_ms", "gap_ms"):
            _in_order(self, f"min_{what}", f"max_{what}")
        return self
