"""Answers that are labels. The schema of `task=classify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from attnlab.config.recipes import one_answer_recipe
from attnlab.config.task import AnswerForm, Extent, Smoothed, Task
from attnlab.errors import Mistake

if TYPE_CHECKING:
    from attnlab.config.schema import Config

LabelName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]


class Label(AnswerForm, kind="label", target="attnlab.tasks.classify.answer:Label"):
    """One of the labels that occur."""

    is_class = True


class Classify(Task, Smoothed, kind="classify", target="attnlab.tasks.classify.task:Classify"):
    """The answer is one of the labels seen in training."""

    answer_forms = ("label",)
    map_rows = "hops"
    explains = True
    predicts_attention = True

    hops: int = Field(
        ge=1,
        description="attention calls before the answer: the context of each shifts the next query "
        "(Sukhbaatar et al. 2015), and each has a row of the map",
    )
    merge_labels: dict[LabelName, LabelName | None] | None = Field(
        description="labels that are learned apart and predicted as another, as stars may be as "
        "good or bad; a label with null is never predicted. The loss is of the labels as learned, "
        "figures are of those predicted. null merges none"
    )

    class_weights: Literal["none", "balanced"] = Field(
        description="what the loss of an example is multiplied by: nothing, or balanced, by how "
        "rare its label is in training, so that all labels weigh alike"
    )

    @property
    def map_hops(self) -> int:
        return self.hops

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        return one_answer_recipe(data, "val/accuracy")

    def adapt_answers(self, answers: Any, inputs: Mapping[str, Any]) -> Any:
        return answers.merging(self.merge_labels or {})

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        if config.model.prediction is not None and self.hops > 1:
            problem = "each hop depends on those before it, which a prediction cannot know"
            yield Mistake("task.hops", problem, "try: task.hops=1, or model.prediction=null")
