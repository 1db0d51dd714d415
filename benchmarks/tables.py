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
from benchmarks.runs import RUNS, Training, figures, origin, train_all, verdict

Figures = Sequence[Mapping[str, Any]]  # one for each seed


@dataclass(frozen=True)
class Trained:
    """Trains by name and overrides: the figures of each seed."""

    domain: str
    data: str
    threads: int
    most: int  # seeds
    wanted: Sequence[str] = ()  # names that are trained; where there are none, all
    made: list[Training] = field(default_factory=list)

    def __call__(self, name: str, *overrides: str, seeds: int = 3) -> list[dict[str, Any]]:
        return figures(self.runs(name, *overrides, seeds=seeds))

    def runs(self, name: str, *overrides: str, seeds: int = 3) -> list[Training]:
        """The same as runs; one that is not wanted is there if it was made before."""
        words = (*overrides, f"paths.data={self.data}")
        runs = [
            Training(self.folder(name, seed), (*words, f"seed={seed}"))
            for seed in range(min(seeds, self.most))
        ]
        if not self.wanted or name in self.wanted:
            train_all(runs, at_once=1, threads=self.threads)
        done = [run for run in runs if run.done]
        self.made.extend(done)
        return done

    def folder(self, name: str, seed: int) -> Path:
        return RUNS / self.domain / name / str(seed)


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
        parser.add_argument(
            "--rows",
            nargs="*",
            default=(),
            help="names of runs to train; others as they ran before",
        )
        given = parser.parse_args()
        data = str(Path(given.data).resolve())
        for name in given.names or self.tables:
            title, table, note = self.tables[name]
            trained = Trained(self.domain, data, given.threads, given.seeds, given.rows)
            lines = list(table(data, trained))
            if not trained.made:
                print(f"{name}: none of its runs is there; nothing is written")
                continue
            command = f"python -m benchmarks.{self.domain} --data ../shared/data {name}"
            circumstances = f" Seeds from 0: mean (each). Threads of a training: {given.threads}."
            section = f"{self.domain}-{name}"
            record(section, title, command, lines, origin(trained.made), note + circumstances)


def prepared(data: str, *overrides: str) -> Prepared:
    return prepared_data(load([*overrides, f"paths.data={data}"])[0])


def values(runs: Figures, *path: str, form: str = ".4f") -> str:
    """The mean of a figure over runs, and each where there are several; nothing where none ran."""
    found: list[Any] = list(runs)
    for key in path:
        found = [each[key] for each in found]
    if len(found) <= 1:
        return format(found[0], form) if found else ""
    return f"{mean(found):{form}} ({', '.join(format(each, form) for each in found)})"


def held(what: str, target: float, runs: Figures, figure: str) -> Iterator[str]:
    """A line that says whether a figure of the answers reached its target."""
    if runs:
        yield ""
        yield f"{what}, {verdict(target, mean(run['answer'][figure] for run in runs))}."


def seconds(runs: Figures) -> str:
    """How long training took."""
    return values(runs, "cost", "train_seconds", form=".0f")
