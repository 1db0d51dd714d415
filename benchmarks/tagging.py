"""Slots and intents of ATIS, entities of WNUT 2017: with and without a chain of tags.

    python -m benchmarks.tagging --data FOLDER             # all; what ran before is picked up
    python -m benchmarks.tagging --data FOLDER slots       # some; the others as they ran before

FOLDER is what `paths.data` names: it holds `atis` and `wnut17`. Each row is an experiment as it
comes, on one thread, but for what the row names; the runs are kept in runs/benchmarks/tagging.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnlab.metrics.intervals import Values, interval, two_sided_p
from attnlab.report.scores import RESAMPLES, read_table
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, judged, train_all

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Row:
    """A system, its headline, and what it is held against."""

    title: str
    figure: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    target: float | None = None
    peer: str = ""


SLOTS_PEER, INTENTS_PEER = "95.9 (BiLSTM-CRF, published)", "96.9 (published)"
ROWS = {
    "slots": Row(
        "ATIS slots, a chain of tags", "span_f1", ("experiment=atis",), target=0.95, peer=SLOTS_PEER
    ),
    "slots_alone": Row(
        "ATIS slots, each tag by itself", "span_f1", ("experiment=atis", "task.crf=false")
    ),
    "intents": Row(
        "ATIS intents", "accuracy", ("experiment=atis_intent",), target=0.965, peer=INTENTS_PEER
    ),
    "entities": Row("WNUT 2017 entities", "span_f1", ("experiment=wnut17",), seeds=(0,)),
}


def training(name: str, seed: int, data: Path) -> Training:
    """One run of the table."""
    words = (*ROWS[name].overrides, f"seed={seed}", f"paths.data={data}")
    return Training(RUNS / "tagging" / name / str(seed), words)


def drawn(name: str, data: Path) -> Values:
    """The mean over seeds of the headline, for every draw of test examples."""
    row = ROWS[name]
    tables = (read_table(training(name, seed, data).folder / RESAMPLES) for seed in row.seeds)
    return np.mean([[float(v) for v in table[row.figure]] for table in tables], axis=0)


def line(name: str, data: Path) -> str:
    row = ROWS[name]
    runs = [training(name, seed, data).figures() for seed in row.seeds]
    each = [run["answer"][row.figure] for run in runs]
    seconds = np.mean([run["cost"]["train_seconds"] for run in runs])
    cells = [
        row.title,
        row.figure,
        ", ".join(f"{value:.4f}" for value in each),
        str(interval(float(np.mean(each)), drawn(name, data), 0.95)),
        "" if row.target is None else judged(row.target, float(np.mean(each))),
        row.peer,
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def what_the_chain_is_worth(data: Path) -> str:
    """The paired difference of the two rows of slots, on the same draws of examples."""
    differences = drawn("slots", data) - drawn("slots_alone", data)
    each = [
        np.mean([training(n, s, data).figures()["answer"]["span_f1"] for s in ROWS[n].seeds])
        for n in ("slots", "slots_alone")
    ]
    found = interval(float(each[0] - each[1]), differences, 0.95)
    return f"The chain is worth {found} of F1 (p = {two_sided_p(differences):.3f})."


def lines(names: Sequence[str], data: Path) -> list[str]:
    table = [
        "| system | figure | each seed | mean, 95 % over examples | target | peer | seconds |",
        "|---|---|---|---|---|---|---|",
        *(line(name, data) for name in names),
    ]
    both = {"slots", "slots_alone"} <= set(names)
    return [*table, "", what_the_chain_is_worth(data)] if both else table


def main() -> None:
    parser = argparse.ArgumentParser(description="Slots, intents and entities.")
    parser.add_argument("names", nargs="*", choices=[*ROWS, []])
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER")
    options = parser.parse_args()
    chosen = options.names or list(ROWS)
    wanted = [training(name, seed, options.data) for name in chosen for seed in ROWS[name].seeds]
    train_all(wanted, at_once=1)
    made = [n for n in ROWS if all(training(n, s, options.data).done for s in ROWS[n].seeds)]
    note = "Seconds are those of one training on one thread; seeds 0, 1, 2."
    title, command = "Tags and intents", "python -m benchmarks.tagging --data FOLDER"
    record("tagging", title, command, lines(made, options.data), note=note)


if __name__ == "__main__":
    main()
