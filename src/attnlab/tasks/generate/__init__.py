"""Answers that are sequences of units. The schema of `task=generate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from attnlab.config.section import Variant
from attnlab.config.task import AnswerForm, Eviction, ManyChoices, Task
from attnlab.errors import Mistake

if TYPE_CHECKING:
    from attnlab.config.schema import Config

DECODING = "attnlab.tasks.generate.decoding"
TextFigure = Literal["bleu", "chrf", "rouge", "word_error", "character_error", "exact_match"]


class Units(AnswerForm, kind="units", target="attnlab.tasks.generate.answer:Units"):
    """A sequence of units: a text, or one tag for each unit of the input."""


class Decoding(Variant, slot="decoding"):
    """Chooses the units of an answer, one after the other. Training validates with `greedy`."""


class Greedy(Decoding, kind="greedy", target=f"{DECODING}:Greedy"):
    """The most likely unit at every step."""


class Sample(Decoding, kind="sample", target=f"{DECODING}:Sample"):
    """Units are sampled, so that answers differ."""

    answers: int = Field(gt=0, description="answers sampled for each input")
    temperature: float = Field(
        gt=0, description="below 1 sharpens the distribution, above flattens"
    )
    top_k: int = Field(ge=0, description="sample among so many of the likeliest units; 0 is all")
    top_p: float = Field(
        gt=0, le=1, description="sample among the fewest units that have this much mass"
    )
    seed: int = Field(ge=0, description="of the samples")


class Beam(Decoding, kind="beam", target=f"{DECODING}:Beam"):
    """Keeps the likeliest prefixes at every step."""

    size: int = Field(gt=0, description="prefixes that are kept")
    answers: int = Field(gt=0, description="answers given for each input, the best first")
    length_penalty: float = Field(
        ge=0, description="scores are divided by ((5 + length) / 6) to this power; 0 favours short"
    )
    coverage_penalty: float = Field(
        ge=0, description="weight of the penalty for keys that the map has not attended to"
    )

    @model_validator(mode="after")
    def _enough_prefixes(self) -> Self:
        if self.answers > self.size:
            raise ValueError(f"{self.answers} answers from {self.size} prefixes; raise size")
        return self


class Generate(Task, ManyChoices, kind="generate", target="attnlab.tasks.generate.task:Generate"):
    """The answer is a sequence of units, produced one after the other."""

    answer_forms = ("units",)
    explains = True
    predicts_attention = True
    decodes = True

    max_length: int = Field(gt=0, description="units generated at most")
    figures: list[TextFigure] | None = Field(
        description="metrics of the answers, the headline first; null chooses by their units, "
        "words or characters"
    )
    ctc: float = Field(
        ge=0,
        le=1,
        description="share of the loss that predicts the units from the encoder's steps alone "
        "(CTC, Graves et al. 2006; jointly, Watanabe et al. 2017); 1 leaves the decoder as it is",
    )
    decoding: Decoding = Field(description="how the units of an answer are chosen")
    eviction: Eviction = Field(
        description="which keys the decoder keeps of its own units; training keeps all"
    )

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """A search with a coverage penalty needs a map that is made step by step."""
        yield from super().mistakes(config)
        decoding = self.decoding
        if not isinstance(decoding, Beam) or not decoding.coverage_penalty:
            return
        if not self.map.startswith("decoder.cross"):
            problem = f"task.map '{self.map}' is not made step by step"
            hint = "set task.decoding.coverage_penalty=0, or task.map=decoder.cross.-1"
            yield Mistake("task.decoding.coverage_penalty", problem, hint)
