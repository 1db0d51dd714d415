"""Who chose what, and when, as a dataset: logs of ratings, purchases, plays.

`conf/dataset/interactions.yaml` holds the defaults.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Dataset, Share
from attnlab.config.dataset_files import READERS, Column, Csv, Hub, Jsonl, Parquet, Reader
from attnlab.config.section import Section


class Titles(Section):
    """Names of items, for people."""

    file: str = Field(min_length=1, description="holds a row for each item, in the same format")
    item: Column = Field(description="column of the item, as the log writes it")
    title: Column = Field(description="column of its name")


class Interactions(Dataset, kind="interactions", target=f"{READERS}.interactions:Interactions"):
    """A log of who chose what. A history's last item is the test, the last but one validation."""

    folder: str = Field(description="what the files below are relative to")
    file: str = Field(min_length=1, description="the log (or part-*.csv), or a split on the hub")
    reader: Reader
    user: Column = Field(description="column of who chose")
    item: Column = Field(description="column of what was chosen")
    time: Column | None = Field(
        description="column of when, a number; null where rows stand in their order"
    )
    rating: Column | None = Field(description="column of a rating; null where there is none")
    at_least: float | None = Field(description="ratings below do not count; null counts all")
    fewest: int = Field(ge=4, description="users with fewer items are left out")
    longest: int | None = Field(gt=0, description="latest items that an example holds; null is all")
    titles: Titles | None = Field(description="names to show in place of items' numbers")
    limit: int | None = Field(gt=0, description="rows of the log that are read; null is all")
    bad_rows: Share = Field(description="share of rows that may be unusable; with more it stops")

    @model_validator(mode="after")
    def _rows_of_one_file(self) -> Self:
        if not isinstance(self.reader, Csv | Jsonl | Parquet | Hub):
            problem = f"reader '{self.reader.kind}' does not read tables"
            raise ValueError(f"{problem}; allowed: csv, tsv, jsonl, parquet, hub")
        return self

    @model_validator(mode="after")
    def _ratings_to_compare(self) -> Self:
        if self.at_least is not None and self.rating is None:
            raise ValueError("at_least needs the column of ratings: dataset.rating=COLUMN")
        return self
