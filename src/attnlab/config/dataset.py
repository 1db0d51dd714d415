"""The slot for datasets: where examples come from. A reader or a generator is one choice in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from attnlab.config.section import Variant
from attnlab.config.task import AnswerForm
from attnlab.errors import Mistake, UserError

Share = Annotated[float, Field(ge=0, le=1)]


class Augment(Variant, slot="augment"):
    """One step; what is drawn anew for each example of each batch."""


class Dataset(Variant, slot="dataset"):
    """What every dataset has, whether it is read from files or made on the spot."""

    answers: ClassVar[str | None] = None  # of every dataset of a kind

    name: str = Field(min_length=1, description="what reports and prepared files call it")
    supervision: Share = Field(
        description="share of the training examples that keep their attention target"
    )

    targets: Literal["gold", "permuted"] = Field(
        description="what training learns maps from: each example's own gold, or, as a negative "
        "control, that of another example"
    )

    missing: dict[str, Share] = Field(
        description="input -> share of the examples, in every split, that lack it; "
        "+dataset.missing.image=1 is the control that never sees the picture"
    )

    augment: dict[str, Augment] = Field(
        description="how training changes its pictures or sounds each time they are seen, step by "
        "step; a name -> {kind: affine | mirror | noise | mix | gain, ...}"
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

    @property
    def one_vocabulary(self) -> bool:
        """Whether all its texts share one vocabulary."""
        return False

    @property
    def may_lack(self) -> set[str]:
        """The inputs that some examples lack."""
        return set(self.missing)

    def settings(self) -> dict[str, Any]:
        """The source makes whole examples: its name and what is withheld are others' business."""
        others = ("name", "supervision", "targets", "missing", "augment")
        return {k: v for k, v in super().settings().items() if k not in others}
