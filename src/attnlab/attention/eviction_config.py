"""Schemas of evictions. `conf/task/eviction/` holds the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any, Self

from pydantic import Field, model_validator

from attnlab.config.attention import AttentionConfig
from attnlab.config.task import Eviction
from attnlab.errors import Mistake

EVICTION = "attnlab.attention.eviction"


def nothing() -> None:
    """No eviction."""


class Nothing(Eviction, kind="none", target=nothing):
    """Every key is kept."""


class Bounded(Eviction):
    """A budget of keys for each head."""

    budget: int = Field(gt=1, description="keys that each head of each layer keeps at most")
    every: int = Field(gt=0, description="keys evicted at once, after as many steps")
    sink: int = Field(ge=0, description="keys at the start that are always kept")
    recent: float = Field(ge=0, le=1, description="share of the budget that the latest keys have")

    @model_validator(mode="after")
    def _room(self) -> Self:
        left = self.budget + 1 - self.every
        always = self.sink + max(1, round(self.recent * self.budget))
        if always > left:
            raise ValueError(
                f"{always} keys are always kept, sink and recent, of {left} that each eviction "
                f"leaves; raise budget, or lower every, sink or recent"
            )
        return self

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield from super().mistakes(config)
        own = [key for key, roles in config.model.roles(config).items() if "causal" in roles]
        if not own:
            problem = f"model '{config.model.kind}' keeps no keys of what it writes"
            yield Mistake(".kind", problem, "try: task/eviction=none, or model=transformer")
        for key in own:
            mechanism: AttentionConfig = reduce(getattr, key.split("."), config)
            problem = self.unsuitable(mechanism)
            if mechanism.structure.form == "nested":
                problem = f"{key}.structure '{mechanism.structure.kind}' needs whole segments"
            if problem:
                yield Mistake(".kind", problem, "try: task/eviction=h2o, or none")

    def unsuitable(self, mechanism: AttentionConfig) -> str:
        """What an eviction needs and a mechanism does not have; nothing if it fits."""
        return ""


class Window(Bounded, kind="window", target=f"{EVICTION}:Window"):
    """The first keys and the latest (Xiao et al. 2024, StreamingLLM)."""


class H2O(Bounded, kind="h2o", target=f"{EVICTION}:Accumulated"):
    """The keys that had most weight so far, and the latest (Zhang et al. 2023)."""


class SnapKV(Bounded, kind="snapkv", target=f"{EVICTION}:Observed"):
    """The keys that have most weight in the latest queries, with neighbours (Li et al. 2024)."""

    observed: int = Field(gt=0, description="latest queries whose weights count")
    pool: int = Field(gt=0, description="keys of which each has the largest weight; an odd number")

    @model_validator(mode="after")
    def _a_middle(self) -> Self:
        if self.pool % 2 == 0:
            raise ValueError(f"pool {self.pool} has no middle; use an odd number")
        return self


class Expected(Bounded, kind="expected", target=f"{EVICTION}:Expected"):
    """The keys that coming queries are expected to give most weight (Devoto et al. 2025)."""

    observed: int = Field(gt=1, description="latest queries whose mean and covariance count")
    ahead: int = Field(gt=0, description="coming positions that are averaged over")

    def unsuitable(self, mechanism: AttentionConfig) -> str:
        score = mechanism.score
        return "" if score.form == "inner" else f"score '{score.kind}' is no inner product"


class PredictedBlocks(Bounded, kind="predicted", target=f"{EVICTION}:PredictedBlocks"):
    """The keys of the blocks that the predictor of blocks gives most to."""

    def unsuitable(self, mechanism: AttentionConfig) -> str:
        kind = mechanism.structure.kind
        return "" if kind == "predicted" else f"structure '{kind}' has no predictor of blocks"
