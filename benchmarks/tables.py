"""What the benchmarks of a domain share: tables of trainings, picked up where they were made."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from attnlab.config.compose import load
from attnlab.data.prepared import Prepared
from attnlab.stages.prepare import prepared_data
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, train_all

Figures = Sequence[Mapping[str, Any]]  # one for each seed


@dataclass(frozen=True)
class Trained:
    """Trains by name and overrides: the figures of each seed."""

    domain: str
    data: str
    threads: int
    most: int  # seeds
    made: list[Training] = field(default_factory=list)

    def __call__(self, name: str, *overrides: str, seeds: int = 3) -> list[dict[str, Any]]:
        return [run.figures() for run in self.runs(name, *overrides, seeds=seeds)]

    def runs(self, name: str, *overrides: str, seeds: int = 3) -> list[Training]:
        """The same as runs."""
        words = (*overrides, f"paths.data={self.data}")
        runs = [
            Training(self.folder(name, seed), (*words, f"seed={seed}"))
            for seed in range(min(seeds, self.most))
        ]
        train_all(runs, at_once=1, threads=self.threads)
        self.made.extend(runs)
        return runs

    def folder(self, name: str, seed: int) -> Path:
        return RUNS / self.domain / name / str(seed)

    def folders(self, name: str, seeds: int = 3) -> list[Path]:
        """Where the runs of a name are."""
        return [self.folder(name, seed) for seed in range(min(seeds, self.most))]


Table = Callable[[str, Trained], Iterator[str]]


@dataclass(frozen=True)
class Tables:
    """The tables of a domain by name: title, what makes its lines, a note."""

    domain: str
    tables: Mapping[str, tuple[str, Table, str]]

    def main(self) -> None:
        """Make those that are asked for, and put them into docs/results.md."""
        parser = argparse.ArgumentParser(description=f"{self.domain}, beside controls.")
        parser.add_argument("names", nargs="*", choices=[*self.tables, []])
        parser.add_argument("--data", default="../shared/data", help="folder of the data sets")
        parser.add_argument("--seeds", type=int, default=3, help="seeds of each training at most")
        parser.add_argument("--threads", type=int, default=2, help="of each training")
        given = parser.parse_args()
        data = str(Path(given.data).resolve())
        for name in given.names or self.tables:
            title, table, note = self.tables[name]
            trained = Trained(self.domain, data, given.threads, given.seeds)
            lines = list(table(data, trained))
            command = f"python -m benchmarks.{self.domain} --data ../shared/data {name}"
            circumstances = f" Seeds from 0: mean (each). Threads of a training: {given.threads}."
            section = f"{self.domain}-{name}"
            record(section, title, command, lines, origin(trained.made), note + circumstances)


def prepared(data: str, *overrides: str) -> Prepared:
    return prepared_data(load([*overrides, f"paths.data={data}"])[0])


def values(runs: Figures, *path: str, form: str = ".4f") -> str:
    """The mean of a figure over runs, and each where there are several."""
    found: list[Any] = list(runs)
    for key in path:
        found = [each[key] for each in found]
    if len(found) == 1:
        return format(found[0], form)
    return f"{mean(found):{form}} ({', '.join(format(each, form) for each in found)})"


def seconds(runs: Figures) -> str:
    """How long training took."""
    return values(runs, "cost", "train_seconds", form=".0f")
