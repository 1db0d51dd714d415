"""Texts that are continued: the next unit at every position. Schema of the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from attnlab.config.task import Eviction, ManyChoices, Task
from attnlab.errors import Mistake
from attnlab.tasks.generate import Beam, Decoding

if TYPE_CHECKING:
    from attnlab.config.schema import Config

TARGET = "attnlab.tasks.language_model.task:LanguageModel"


class LanguageModel(Task, ManyChoices, kind="language_model", target=TARGET):
    """The answer is the next unit of one text, at every position (decoder-only)."""

    answer_forms = ("nothing",)
    decodes = True
    attention_roles = ("causal",)
    shares_texts = True

    max_length: int = Field(gt=0, description="units that continue a prompt at most")
    context: int | None = Field(
        gt=1,
        description="units that prompt and continuation may have together: of a longer prompt the "
        "last ones are read. null: as many as there are",
    )
    decoding: Decoding = Field(description="how the units that continue a prompt are chosen")
    eviction: Eviction = Field(
        description="which keys the decoder keeps of the units before; with any but none texts are "
        "evaluated step by step, while training keeps all"
    )

    @model_validator(mode="after")
    def _room_for_a_prompt(self) -> Self:
        if self.context is not None and self.max_length >= self.context:
            raise ValueError(
                f"max_length {self.max_length} leaves no room for a prompt in a context of "
                f"{self.context}"
            )
        return self

    @property
    def causal(self) -> bool:
        return True

    def adapt_answers(self, answers: Any, inputs: Mapping[str, Any]) -> Any:
        """The units of the text itself, in place of nothing."""
        return self.implementation().own_units(inputs)

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """A coverage penalty is for maps over an input that stays the same."""
        yield from super().mistakes(config)
        if isinstance(self.decoding, Beam) and self.decoding.coverage_penalty:
            problem = "what a language model attends to grows with each unit"
            yield Mistake("task.decoding.coverage_penalty", problem, "set it to 0")
