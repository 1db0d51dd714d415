"""Where figures and maps go besides the run's own folder. `conf/logger/` holds the defaults."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from attnlab.config.section import Section, Variant, named_by_kind, or_null


class Logger(Variant, slot="logger"):
    """Shows a run while it goes on."""

    @property
    def enabled(self) -> bool:
        """Whether it shows anything at all."""
        return True


class Logging(Section):
    """The loggers of a run, and what all of them show alike."""

    project: str = Field(description="runs that are shown together have the same")
    tags: list[str] = Field(description="words to find runs by")
    maps_every: int | None = Field(
        ge=0, description="validations between two of which maps are kept; 0 or null is never"
    )
    maps_examples: int = Field(gt=0, description="examples whose maps are kept and drawn")
    loggers: dict[str, Logger] = Field(
        description="by name; a name may stand for its kind", json_schema_extra=or_null
    )

    @field_validator("loggers", mode="before")
    @classmethod
    def _named_by_kind(cls, loggers: Any) -> Any:
        return named_by_kind(loggers)
