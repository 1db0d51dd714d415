"""What is asked of the model. `conf/task/*.yaml` holds the default values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from attnlab.config.dataset import Share
from attnlab.config.decoding import Decoding
from attnlab.config.section import Variant

TextFigure = Literal["bleu", "chrf", "rouge", "word_error", "character_error", "exact_match"]
LabelName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
TASKS = "attnlab.training.tasks"
REGIONS = "attnlab.training.regions"


class Task(Variant, slot="task"):
    """Translation, recognition, captioning are all `generate`: the task is the form of answer."""

    name: str = Field(description="shown in run names and tables")
    map: str = Field(
        min_length=1, description="the map that is judged against gold, and shown: a site's name"
    )
    label_smoothing: float = Field(ge=0, lt=1, description="share of target mass spread evenly")

    chosen_whole: ClassVar[bool] = False  # an answer in units that is given as one

    @property
    def causal(self) -> bool:
        """Whether each state of the input may know only what stands before it."""
        return False

    @property
    def looks(self) -> int:
        """How often the input is looked at, one after the other, before a label is given."""
        return 1

    @property
    def merges(self) -> Mapping[str, str | None]:
        """Labels that are said as another, or never."""
        return {}


class Generate(Task, kind="generate", target=f"{TASKS}:Generate"):
    """The answer is a sequence of units, produced one after the other."""

    max_length: int = Field(gt=0, description="units generated at most")
    figures: list[TextFigure] | None = Field(
        description="what judges answers, the headline first; null goes by what they are made of, "
        "words or characters"
    )
    ctc: float = Field(
        ge=0,
        le=1,
        description="share of the loss that asks the encoder's steps alone for the units in their "
        "order (CTC, Graves et al. 2006; jointly, Watanabe et al. 2017); 1 leaves the decoder as "
        "it is",
    )
    decoding: Decoding = Field(description="how the units of an answer are chosen")


class Classify(Task, kind="classify", target=f"{TASKS}:Classify"):
    """The answer is one of the labels seen in training."""

    hops: int = Field(
        ge=1,
        description="looks before the answer, each asked with what those before it have found "
        "(Sukhbaatar et al. 2015); each has a row of the map",
    )
    counts_as: dict[LabelName, LabelName | None] | None = Field(
        description="labels that are learned apart and said as another, as stars may be as good or "
        "bad; a label with null is never said. The loss is of what is learned, figures are of what "
        "is said. null is each as itself"
    )

    @property
    def looks(self) -> int:
        return self.hops

    @property
    def merges(self) -> Mapping[str, str | None]:
        return self.counts_as or {}


class Tag(Task, kind="tag", target=f"{TASKS}:Tag"):
    """The answer is a tag for each word of the input."""

    crf: bool = Field(
        description="tags depend on the tag before, and are chosen together (a linear-chain "
        "conditional random field, Lafferty et al. 2001); otherwise each by itself"
    )


class Rank(Task, kind="rank", target="attnlab.training.ranking:Rank"):
    """The answer is an item, looked for among all there are."""

    learn: Literal["answer", "every_place", "hidden_places"] = Field(
        description="what training asks for: each example's answer, or also, at every place of its "
        "items, the next one; then no state sees what comes after it (SASRec, Kang & McAuley "
        "2018); or also items that are hidden here and there (BERT4Rec, Sun et al. 2019)"
    )
    hidden: Share = Field(description="share of the items that learn=hidden_places hides")
    repeats: bool = Field(
        description="whether the answer may be one of the example's own items; if not, those are "
        "left out of rankings, and of the loss"
    )

    @model_validator(mode="after")
    def _spread_over_what_may_be(self) -> Self:
        if self.label_smoothing and not self.repeats:
            raise ValueError(
                "label_smoothing spreads over items that may not follow; "
                "try: task.label_smoothing=0 or task.repeats=true"
            )
        return self

    @property
    def causal(self) -> bool:
        return self.learn == "every_place"


class Retrieve(Task, kind="retrieve", target="attnlab.training.retrieval:Retrieve"):
    """The answer is one of many texts: the reply that fits, chosen, not written."""

    chosen_whole = True


class Extract(Task, kind="extract", target=f"{TASKS}:Extract"):
    """The answer is one of the units of the input: the one that the map lies on."""


class Attend(Task, kind="attend", target=f"{TASKS}:Attend"):
    """The answer is the map itself: gaze, saliency."""


class Locate(Task, kind="locate", target=f"{REGIONS}:Locate"):
    """The answer is a set of boxes with their classes."""

    queries: PositiveInt | Literal["cells"] = Field(
        description="how many learned queries look for a box each (Carion et al. 2020); or cells, "
        "each of which looks for one (a grid head)"
    )
    rounds: int = Field(
        ge=1,
        description="looks of each query; before every one but the first, queries tell one another "
        "what they have found",
    )
    box_weight: float = Field(ge=0, description="weight of the boxes' loss beside the classes'")
    none_weight: float = Field(
        gt=0, le=1, description="how much a query counts that has nothing to find, beside others"
    )


class Segment(Task, kind="segment", target=f"{REGIONS}:Segment"):
    """The answer is a class for each pixel."""

    gated: bool = Field(
        description="whether what is seen in fine places passes through gates that coarser ones "
        "open (Oktay et al. 2018), on the way back to pixels"
    )
