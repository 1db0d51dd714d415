"""Pictures and sounds as datasets: which column holds them, and what they are brought to.

`conf/dataset/pictures.yaml` and `conf/dataset/sounds.yaml` hold the defaults.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from attnlab.config.section import Section, Variant
from attnlab.config.task import Extent
from attnlab.datasets.readers.columns_config import (
    READERS,
    Answer,
    Column,
    LabelAnswer,
    NoAnswer,
    NumberAnswer,
    NumbersAnswer,
    ObjectsAnswer,
)
from attnlab.datasets.readers.config import Rows


class PictureGold(Variant, slot="picture_gold"):
    """Which column says where to look in a picture."""

    column: Column = Field(description="holds the gold; a row where it is empty has none")


class Fixations(PictureGold, kind="fixations", target=f"{READERS}.objects:Fixations"):
    """Where people looked: a list for each observer of [x, y], or [x, y, anything more]."""

    frame: tuple[PositiveInt, PositiveInt] | None = Field(
        description="width and height of the picture in which x and y count pixels; null is the "
        "picture as it is stored"
    )
    blur: float = Field(
        gt=0, description="standard deviation of the blur, as a share of the picture's width"
    )


class MarkedBoxes(PictureGold, kind="boxes", target=f"{READERS}.objects:MarkedBoxes"):
    """Boxes to look into: a list of [left, top, right, bottom] in pixels of the stored picture."""


class Media(Rows):
    """Rows of which a column is no text: it holds a file's name, or what is in it."""

    answered: ClassVar[tuple[type[Answer], ...]] = (
        LabelAnswer,
        NumberAnswer,
        NumbersAnswer,
        NoAnswer,
    )

    input_form: ClassVar[Literal["picture", "sound"]]

    files: str | None = Field(
        description="folder (or .zip) of the files that the column names; null is dataset.folder"
    )
    column: Column = Field(description="holds the pictures or sounds, or names of their files")
    answer: Answer

    @property
    def answer_form(self) -> str:
        return self.answers or self.answer.form

    def extent(self) -> Extent | None:
        count, held_out = len(self._training_rows()), sum(self.splits.held_out().values())
        return Extent(round(count * (1 - held_out)), form=self.input_form) if count else None

    @model_validator(mode="after")
    def _answers_beside_media(self) -> Self:
        if not isinstance(self.answer, self.answered):
            kinds = [k for k, each in Answer.kinds().items() if issubclass(each, self.answered)]
            raise ValueError(
                f"answer '{self.answer.kind}' does not go with it; allowed: {', '.join(kinds)}"
            )
        return self


class Pictures(Media, kind="pictures", target=f"{READERS}.pictures:PictureSource"):
    """Pictures, each with a label, with objects marked in it, or with gold that is the answer."""

    answered: ClassVar[tuple[type[Answer], ...]] = (*Media.answered, ObjectsAnswer)
    input_form = "picture"

    size: tuple[PositiveInt, PositiveInt] | None = Field(
        description="height and width that all are brought to; null leaves them as they are"
    )
    colour: Literal["grey", "rgb"] = Field(description="one channel or three")
    gold: PictureGold | None = Field(description="where to look")

    @property
    def without_gold(self) -> str:
        if self.gold is not None or isinstance(self.answer, ObjectsAnswer):
            return ""
        kinds = " | ".join(PictureGold.kinds())
        return (
            f"dataset.gold is null; to give it: dataset/picture_gold@dataset.gold={kinds} "
            "dataset.gold.column=COLUMN"
        )

    @model_validator(mode="after")
    def _gold_where_it_is_the_answer(self) -> Self:
        if self.gold is None and isinstance(self.answer, NoAnswer):
            raise ValueError("neither answer nor gold: nothing to learn")
        return self

    @model_validator(mode="after")
    def _gold_once(self) -> Self:
        if self.gold is not None and isinstance(self.answer, ObjectsAnswer):
            raise ValueError(f"answer '{self.answer.kind}' is where to look as well; set gold=null")
        return self


class Cluttered(Pictures, kind="cluttered", target=f"{READERS}.pictures:ClutteredSource"):
    """Each picture somewhere on a larger, dark canvas, among pieces of others (Mnih et al. 2014).

    Its box is the gold map.
    """

    canvas: tuple[PositiveInt, PositiveInt] = Field(description="height and width of the canvas")
    pieces: int = Field(ge=0, description="pieces of other pictures strewn over each canvas")
    piece: int = Field(gt=0, description="height and width of a piece, in pixels")
    seed: int = Field(ge=0, description="what places and pieces are drawn from")

    @property
    def without_gold(self) -> str:
        return ""

    @model_validator(mode="after")
    def _a_label(self) -> Self:
        if self.gold is not None or not isinstance(self.answer, LabelAnswer):
            raise ValueError("has a label as its answer, and gold of its own; set gold=null")
        return self


class Sounds(Media, kind="sounds", target=f"{READERS}.sounds:SoundSource"):
    """Recordings, each with a label."""

    input_form = "sound"

    sample_rate: int = Field(gt=0, description="samples a second that all are brought to")
    hop: int = Field(gt=0, description="samples of a frame: what a map counts")
    longest: float | None = Field(gt=0, description="seconds that are kept; null is all")
    loudness: float | None = Field(
        gt=0, lt=1, description="root mean square that all are brought to; null leaves it"
    )

    @property
    def without_gold(self) -> str:
        return "sounds have no gold maps"


class SoundCounts(Section):
    """How many sounds each split has."""

    train: PositiveInt = Field(description="for training")
    val: PositiveInt = Field(description="for validation")
    test: PositiveInt = Field(description="for testing")


class Connected(Sounds, kind="connected", target=f"{READERS}.sounds:ConnectedSource"):
    """Recordings of single words, several of them joined to each sound, in noise."""

    answers: ClassVar[str | None] = "units"

    sounds: SoundCounts
    words: tuple[PositiveInt, PositiveInt] = Field(description="fewest and most words of a sound")
    gap_ms: tuple[NonNegativeInt, NonNegativeInt] = Field(
        description="shortest and longest silence before, between and after words, in milliseconds"
    )
    snr_db: tuple[float, float] = Field(
        description="least and greatest power of the words over that of the noise, in decibel"
    )
    quiet_db: PositiveFloat | None = Field(
        description="ends of a recording that are so many decibel below its loudest moment are no "
        "part of the word; null takes recordings as they are"
    )
    seed: int = Field(ge=0, description="what is drawn of recordings, silences and noise")

    @property
    def without_gold(self) -> str:
        return ""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"sounds": self.sounds.model_dump()}

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Self:
        for name in ("words", "gap_ms", "snr_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} is above {high}")
        return self

    @model_validator(mode="after")
    def _words_to_be_written(self) -> Self:
        if not isinstance(self.answer, LabelAnswer):
            raise ValueError(f"answer '{self.answer.kind}' names no word; allowed: label")
        return self
