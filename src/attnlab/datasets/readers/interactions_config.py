"""Logs of who chose what as a dataset. `conf/dataset/interactions.yaml` holds the defaults."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Dataset, Share
from attnlab.config.section import Section
from attnlab.config.task import Extent
from attnlab.datasets.readers.columns_config import (
    READERS,
    Column,
    Csv,
    Hub,
    Jsonl,
    Parquet,
    Reader,
)
from attnlab.datasets.readers.config import MOST_COUNTED
from attnlab.errors import UserError

RARE = 0.01  # share of items that come twice in a history, up to which none is expected to


class Titles(Section):
    """Names of items, for people."""

    file: str = Field(min_length=1, description="holds a row for each item, in the same format")
    item: Column = Field(description="column of the item, as the log writes it")
    title: Column = Field(description="column of its name")


class Interactions(Dataset, kind="interactions", target=f"{READERS}.interactions:Interactions"):
    """A log of who chose what. A history's last item is the test, the last but one validation."""

    answers: ClassVar[str | None] = "item"

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

    @property
    def without_gold(self) -> str:
        return "a log has no gold maps"

    def extent(self) -> Extent | None:
        if isinstance(self.reader, Hub):
            return None
        histories: dict[str, list[str]] = {}
        try:
            rows = self.reader.build().rows(Path(self.folder), self.file, "dataset.file")
            for row in islice(rows, self.limit or MOST_COUNTED):
                user, item = (str(row.values.get(column)) for column in (self.user, self.item))
                histories.setdefault(user, []).append(item)
        except (UserError, OSError):  # reported when the data are prepared
            return None
        kept = [items for items in histories.values() if len(items) >= self.fewest]
        if not kept:
            return None
        items = sum(map(len, kept))
        twice = items - sum(len(set(each)) for each in kept)
        return Extent(len(kept), items / len(kept), form="history", repeats=twice > RARE * items)

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
