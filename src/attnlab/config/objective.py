"""What training minimises: a weighted sum of terms. `conf/objective/` holds the defaults."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from pydantic_core import PydanticKnownError

from attnlab.config.section import Section, Variant, or_null


class Schedule(Variant, slot="schedule"):
    """How the weight of a term changes with the training step."""


class Term(Variant, slot="term"):
    """A part of the loss. The kind says which, weight and schedule how much and when."""

    learns_gold: ClassVar[bool] = False  # which is left out where a dataset has none
    sums_positions: ClassVar[bool] = False  # a sum over positions, each of its own scores alone
    trains_blocks: ClassVar[bool] = False  # the predictors of `attention/structure=predicted`

    weight: float = Field(ge=0, description="factor of the term")
    schedule: Schedule = Field(description="how the weight changes with the training step")

    def settings(self) -> dict[str, Any]:
        """Those of its kind alone: every term is weighted in the same way."""
        settings = super().settings()
        return {key: settings[key] for key in settings if key not in Term.model_fields}

    def build(self, *args: Any, **kwargs: Any) -> Any:
        term = super().build(*args, **kwargs)
        term.weight, term.schedule = self.weight, self.schedule.build()
        return term


class MapTerm(Term):
    """A loss on a map."""

    site: str = Field(
        min_length=1,
        description="the map: decoder.cross.-1, decoder.cross.-2/head=0, encoder.self.3/heads=mean;"
        " or activations, how strong the states are that are attended to",
    )


class GoldTerm(MapTerm):
    """A loss on a map beside gold, or beside a teacher's map in its place."""

    learns_gold = True

    share_power: float = Field(
        ge=0,
        le=1,
        description="the loss is multiplied by the share of rows that have gold, to this power: "
        "with 0 few maps count as much as many, and answers suffer from what is learned by heart",
    )

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        del settings["share_power"]
        return settings

    def build(self, *args: Any, **kwargs: Any) -> Any:
        term = super().build(*args, **kwargs)
        term.share_power = self.share_power
        return term


class ObjectiveConfig(Section):
    """The loss: the weighted sum of its terms."""

    name: str = Field(min_length=1, description="shown in run names and tables")
    teacher: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        description="folder of a trained run with the same answers, or folders of several, whose "
        "mean is learned from; its maps take the place of gold, its choices are learned from by "
        "logit_distillation, its states by state_distillation; null is none"
    )
    terms: dict[str, Term] = Field(
        description="the parts of the loss, by name", json_schema_extra=or_null
    )

    @field_validator("terms", mode="before")
    @classmethod
    def _without_none(cls, terms: Any) -> Any:
        """Without what is null, and what an experiment sets of a loss that there is none of."""
        if not isinstance(terms, dict):
            return terms
        if "task" not in terms:  # with a weight of 0 it is there and counts for nothing
            raise PydanticKnownError("missing")
        shared = set(GoldTerm.model_fields) - {"kind"}
        return {
            name: term
            for name, term in terms.items()
            if term is not None and not (isinstance(term, dict) and set(term) <= shared)
        }

    @property
    def on_maps(self) -> bool:
        """Whether a term is a loss on a map."""
        return any(isinstance(term, MapTerm) for term in self.terms.values())
