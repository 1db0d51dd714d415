"""What data there are: every dataset of `conf/dataset/`, and whether its files are there.

The YAML is read as it stands: composing all of it takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from attnlab.config.dataset import Dataset, Origin
from attnlab.config.section import SHARED, config_dir
from attnlab.datasets.readers.files import MissingDataError
from attnlab.errors import UserError, suggest

INCOMPLETE = (SHARED, "files", "pictures", "sounds", "interactions", "text")
HUB = "_hub"  # how the name of a variant on the hub ends


@dataclass(frozen=True)
class Entry:
    """A dataset by its name in `conf/dataset/`."""

    name: str
    command: str  # trains on it
    values: Mapping[str, Any]  # of its YAML, and of those that it builds on
    options: Mapping[str, str]  # what they choose of other groups: reader -> csv
    origin: Origin | None  # None where the package makes the examples

    @property
    def form(self) -> str:
        """What an answer is."""
        schema = Dataset.kinds()[self.values["kind"]]
        if schema.answers is None and "answer" in self.options:
            return self.options["answer"]
        return schema.answers or schema.model_validate(self.values).answer_form

    @property
    def size(self) -> str:
        return f"{self.values['train']:,} examples" if self.origin is None else self.origin.size

    @property
    def licence(self) -> str:
        return "the package's" if self.origin is None else self.origin.licence

    @property
    def from_hub(self) -> bool:
        return self.options.get("reader") == "hub"

    def missing(self, data: Path) -> list[str]:
        """What it needs below the folder of raw data and does not find there."""
        places = [] if self.origin is None else self.origin.places
        return [place for place in places if not (data / place).exists()]

    def state(self, data: Path) -> str:
        """Where its examples are, in a word or two."""
        if self.origin is None:
            return "embedded"
        if self.from_hub:
            return "on the hub"
        if not self.missing(data):
            return "there"
        return "by hand" if self.origin.by_hand else "to download"


def names() -> list[str]:
    """The datasets that are complete as they stand."""
    found = sorted(path.stem for path in (config_dir() / "dataset").glob("*.yaml"))
    return [name for name in found if name not in INCOMPLETE]


def entries() -> Iterator[Entry]:
    """All of them: first what needs no network, then files, then what is read from the hub."""
    every = [entry(name) for name in names()]
    yield from sorted(every, key=lambda each: (each.origin is not None, each.from_hub))


def entry(name: str) -> Entry:
    """One dataset by its name; raises a `UserError` that names the nearest."""
    if name not in names():
        raise UserError(f"data: no dataset '{name}'; {suggest(name, names())}")
    values, options = _read(name)
    values = dict(values)
    origin = values.pop("origin", None)
    text = (config_dir() / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")
    return Entry(
        name,
        text.splitlines()[0].removeprefix("# ").replace(" paths.data=FOLDER", ""),
        values,
        options,
        None if origin is None else Origin.model_validate(origin),
    )


@cache
def _read(name: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The keys of a YAML over those of the ones that it builds on, and the options they choose."""
    own = yaml.safe_load((config_dir() / "dataset" / f"{name}.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    options: dict[str, str] = {}
    for chosen in own.pop("defaults", []):
        if isinstance(chosen, dict):
            options |= {group.removeprefix("override "): each for group, each in chosen.items()}
        elif chosen != "_self_":
            values, options = (dict(each) for each in _read(chosen))
    return values | own, options


def require_data(dataset: Dataset, data: Path) -> None:
    """Raise a `UserError` where a dataset reads files or columns that are not there."""
    with missing_explained(dataset.name, data):
        dataset.build().require()


@contextmanager
def missing_explained(name: str, data: Path) -> Iterator[None]:
    """Inside, a file that is not there ends in a `UserError` that says what brings it."""
    try:
        yield
    except MissingDataError as error:
        how = how_to_get(error.path, data, name)
        raise UserError(f"{error}\n  {how}" if how else str(error)) from None


def how_to_get(path: Path, data: Path, name: str = "") -> str:
    """What brings a file that is missing; empty where no dataset of the package needs it.

    Args:
        path: the file or folder that is not there.
        data: the folder of raw data.
        name: the dataset that was to be read; others may share its files.
    """
    beside: dict[str, bool] = {}  # datasets in the same folder: whether the very file is theirs
    for each in names():
        origin = entry(each).origin
        places = [data / place for place in ([] if origin is None else origin.places)]
        if any(_about(path.absolute(), place.absolute()) for place in places):
            beside[each] = path in places
    if not beside:
        return ""
    folder = "" if str(data) == "data" else f" paths.data={data}"
    best = name if name in beside else max(beside, key=lambda each: beside[each])
    hubs = [f"{each}{HUB}" for each in (best, *beside) if f"{each}{HUB}" in names()]
    also = f", or from the hub: {entry(hubs[0]).command}" if hubs else ""
    return f"try: attnlab data {best}{folder}{also}"


def _about(path: Path, place: Path) -> bool:
    """Whether a path is a place of a dataset, lies within it or holds it, or stands beside it."""
    return path.is_relative_to(place) or place.is_relative_to(path) or path.parent == place.parent
