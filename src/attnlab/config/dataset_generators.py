"""The embedded datasets: how many examples each makes, and how hard they are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Dataset, Share

Size = Annotated[int, Field(ge=0)]


class Generated(Dataset):
    """A dataset made from a seed: any size, no network, the same on every machine."""

    train: Size = Field(description="number of training examples")
    val: Size = Field(description="number of validation examples")
    test: Size = Field(description="number of test examples")
    seed: int = Field(ge=0, description="what the examples are drawn from")


class Dates(Generated, kind="dates", target="attnlab.data.generators.dates:Dates"):
    """Dates as people write them, in many languages, to be rewritten as YYYY-MM-DD."""

    locales: list[str] = Field(
        min_length=1, description="languages (and countries) by CLDR name: en, pt, en_GB, zh_Hant"
    )
    styles: list[
        Literal["full", "long", "medium", "short", "abbreviated", "numeric", "numeric_weekday"]
    ] = Field(
        min_length=1,
        description="CLDR's four lengths; 'abbreviated' is weekday and month cut short, 'numeric' "
        "digits alone, 'numeric_weekday' digits after a weekday",
    )
    first_year: int = Field(ge=1000, le=9999, description="first year that dates are drawn from")
    last_year: int = Field(ge=1000, le=9999, description="last year that dates are drawn from")
    two_digit_years: Share = Field(
        description="share of the dates that leave out the century where it can be inferred"
    )
    two_digit_start: int = Field(
        ge=1000,
        le=9900,
        description="first of the hundred years that may be written with two digits",
    )
    native_digits: Share = Field(
        description="share of the dates in the language's own digits, where it has any"
    )
    ordinals: Share = Field(
        description="share of the dates with a day like '5th', in languages that write it so"
    )
    case_changes: Share = Field(description="share of the dates all in upper or all in lower case")

    @model_validator(mode="after")
    def _years_in_order(self) -> Self:
        if self.last_year < self.first_year:
            raise ValueError("last_year comes before first_year")
        return self
