"""How a model that writes comes to its answer. `conf/task/decoding/*.yaml` holds the defaults."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from attnlab.config.section import Variant

DECODING = "attnlab.models.decoding"


class Decoding(Variant, slot="decoding"):
    """Chooses the units of an answer, one after the other. Training validates with `greedy`."""


class Greedy(Decoding, kind="greedy", target=f"{DECODING}:Greedy"):
    """The most likely unit at every step."""


class Sample(Decoding, kind="sample", target=f"{DECODING}:Sample"):
    """Units are drawn, so that answers differ."""

    answers: int = Field(gt=0, description="answers drawn for each input")
    temperature: float = Field(
        gt=0, description="below 1 sharpens the distribution, above flattens"
    )
    top_k: int = Field(ge=0, description="draw among so many of the likeliest units; 0 is all")
    top_p: float = Field(
        gt=0, le=1, description="draw among the fewest units that have this much mass"
    )
    seed: int = Field(ge=0, description="of the draws")


class Beam(Decoding, kind="beam", target=f"{DECODING}:Beam"):
    """Keeps the likeliest beginnings at every step."""

    size: int = Field(gt=0, description="beginnings that are kept")
    answers: int = Field(gt=0, description="answers given for each input, the best first")
    length_penalty: float = Field(
        ge=0, description="scores are divided by ((5 + length) / 6) to this power; 0 favours short"
    )
    coverage_penalty: float = Field(
        ge=0, description="weight of what is taken off where the map has not looked at every key"
    )

    @model_validator(mode="after")
    def _enough_beginnings(self) -> Self:
        if self.answers > self.size:
            raise ValueError(f"{self.answers} answers from {self.size} beginnings; raise size")
        return self
