"""The slot for datasets: where examples come from. A reader or a generator is one choice in it.

`Origin` says where the files of a dataset are published. It stands in the dataset's YAML and is no
part of a run's config: what a run learns depends on the files alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from attnlab.config.section import Name, Section, Variant
from attnlab.config.task import AnswerForm, Extent
from attnlab.errors import Mistake, UserError

Share = Annotated[float, Field(ge=0, le=1)]


Below = Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*/?$")]  # a path below paths.data


class Download(Section):
    """One file to download."""

    url: str = Field(pattern=r"^https?://", description="where it is")
    sha256: str | None = Field(
        pattern=r"^[0-9a-f]{64}$", description="its checksum as published; null is not known"
    )
    to: Below | dict[str, Below] = Field(
        description="where it goes, below paths.data, packed if the name ends in .gz; of an "
        "archive: pattern of its files -> file, folder/, or folder of a zip (data.zip/inner/)"
    )

    @property
    def places(self) -> list[str]:
        """The files and folders that it becomes, below paths.data."""
        targets = [self.to] if isinstance(self.to, str) else self.to.values()
        whole = [before + zipped for before, zipped, _ in (t.partition(".zip") for t in targets)]
        return list(dict.fromkeys(whole))


class ByHand(Section):
    """Files to get by hand, because they need a form, a login or a conversion."""

    files: list[Below] = Field(min_length=1, description="what is needed, below paths.data")
    steps: str = Field(min_length=1, description="what to download and how it becomes the files")


class Origin(Section):
    """Where the files of a dataset come from, under the key `origin` of its YAML."""

    page: str = Field(pattern=r"^https?://", description="the publisher's own page")
    licence: str = Field(min_length=1, description="as the publisher states it, or `not stated`")
    size: str = Field(min_length=1, description="of what is downloaded")
    layout: str = Field(min_length=1, description="what the reader expects in the folder")
    citation: str = Field(min_length=1, description="who made it, and where it is described")
    downloads: list[Download] = Field(description="none where it is had by hand or from the hub")
    by_hand: ByHand | None = Field(description="null where a command can download it")

    @property
    def places(self) -> list[str]:
        """The files and folders that have to be there, below paths.data; none of the hub's."""
        by_hand = self.by_hand.files if self.by_hand else []
        return [*(place for each in self.downloads for place in each.places), *by_hand]


class Augment(Variant, slot="augment"):
    """One step; what is drawn anew for each example of each batch."""

    of_words: ClassVar[bool] = False  # changes words of texts, before they are cut into units


class Dataset(Variant, slot="dataset"):
    """What every dataset has, whether it is read from files or made on the spot."""

    answers: ClassVar[str | None] = None  # of every dataset of a kind

    name: Name = Field(description="what reports and prepared files call it")
    supervision: Share = Field(
        description="share of the training examples that keep their attention target"
    )

    labelled: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the training examples that keep their label; mean_teacher, vat and "
        "terms on maps can learn from the others",
    )

    targets: Literal["gold", "permuted"] = Field(
        description="what training learns maps from: each example's own gold, or, as a negative "
        "control, that of another example"
    )

    missing: dict[str, Share] = Field(
        description="input -> share of the examples, in every split, that lack it; "
        "+dataset.missing.image=1 is the control that never sees the picture"
    )

    annotations: str | None = Field(
        None,
        description="a file of `attnlab clean`, `attnlab label` or of your own, with lines {id, "
        "keep, answer, map, map_weight}: what training leaves out, corrects or adds; null is none",
    )

    augment: dict[str, Augment] = Field(
        description="how training changes pictures, sounds or texts each time they are seen, step "
        "by step; a name -> {kind: affine | mirror | noise | mix | gain | drop_words | ..., ...}"
    )

    @property
    def answer_form(self) -> str:
        """The form of the answers; a class that is registered as a dataset states its own.

        Raises:
            UserError: for a registered class without a valid `answer_form`.
        """
        form = self.answers or getattr(self.target, "answer_form", None)
        if form not in AnswerForm.kinds():
            name = getattr(self.target, "__name__", self.target)
            allowed = " | ".join(AnswerForm.kinds())
            problem = f"{name}.answer_form is {form!r}" if form else f"{name} has no answer_form"
            raise UserError(f"dataset.kind: '{self.kind}': {problem}; allowed: {allowed}")
        return form

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        try:
            _ = self.answer_form
        except UserError as error:
            where, _, problem = str(error).partition(": ")
            yield Mistake(where, problem)
            return
        if self.labelled < 1 and self.answer_form != "label":
            problem = f"answers of form '{self.answer_form}' are no labels; allowed: 1"
            yield Mistake(".labelled", problem, "try: dataset.labelled=1")

    @property
    def answers_each_unit(self) -> bool | None:
        """Whether an answer has a unit for each unit of the attended input, as tags are.

        None where the dataset's class does not state it.
        """
        return getattr(self.target, "answers_each_unit", None)

    @property
    def one_vocabulary(self) -> bool:
        """Whether all its texts share one vocabulary."""
        return False

    @property
    def without_gold(self) -> str:
        """Why no example has a gold map, and how to give some; empty where there may be gold."""
        return ""

    def extent(self) -> Extent | None:
        """That of the texts to train on; None where there are none, or they cannot be read."""
        return None

    @property
    def may_lack(self) -> set[str]:
        """The inputs that some examples lack."""
        return set(self.missing)

    def settings(self) -> dict[str, Any]:
        """The source makes whole examples: its name and what is withheld are others' business."""
        others = ("name", "supervision", "labelled", "targets", "missing", "annotations", "augment")
        return {k: v for k, v in super().settings().items() if k not in others}
