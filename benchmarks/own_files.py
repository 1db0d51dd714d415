"""Files as a user has them, and no key beyond paths, columns and task: beside a linear model.

    python -m benchmarks.own_files --data ../shared/data           # all; what ran is picked up
    python -m benchmarks.own_files --data ../shared/data labels    # some

The data are written as CSV and JSON Lines below runs/benchmarks/own_files; each command is the one
that `attnlab data inspect` proposes for them. `--threads` is of each training.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean

from attnlab.data.example import Example
from attnlab.datasets.inspection import inspect
from attnlab.datasets.readers.corpora import ConllReader
from attnlab.datasets.readers.tables import CsvReader
from attnlab.stages.data import overrides
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import open_run
from benchmarks.runs import RUNS, Training, figures, judged
from benchmarks.tables import Tables, Trained, seconds, values

HEAD = (
    "| files | figure | model=auto | linear model | at least the linear one | seconds | "
    "seconds of the linear one |",
    "|---|---|---|---|---|---|---|",
)
WORDS, TAGS = "text", "tags"


def labels(data: str, trained: Trained) -> Iterator[str]:
    """A label for each text, as CSV."""
    yield from HEAD
    for name, folder in label_files(data):
        yield from line(name, folder, "accuracy", trained)


def label_files(data: str) -> Iterator[tuple[str, Path]]:
    """The names of sets of labelled texts, and the folders that they are written into."""
    folder = Path(data)
    sources = {
        "phrasebank": (folder / "phrasebank", "train.tsv.gz", "val.tsv.gz", "test.tsv.gz", None),
        "sst2": (folder / "sst2", "train.tsv.gz", "dev.tsv.gz", "test.tsv.gz", ["text", "label"]),
    }
    for name, (place, *files, header) in sources.items():
        reader = CsvReader(delimiter="\t", quote=None, header=header)
        splits = {
            split: [list(row.values.values())[:2] for row in reader.read(place / file)]
            for split, file in zip(("train", "val", "test"), files, strict=True)
        }
        yield name, as_csv(name, splits)
    splits = {
        split: [[" ".join(words), intent] for words, _, intent in sentences(folder, split)]
        for split in ("train", "val", "test")
    }
    yield "atis_intents", as_csv("atis_intents", splits)


def tags(data: str, trained: Trained) -> Iterator[str]:
    """A tag for each word, as JSON Lines."""
    yield from HEAD
    folder = Path(data)
    atis = {
        split: [(words, found) for words, found, _ in sentences(folder, split)]
        for split in ("train", "val", "test")
    }
    yield from line("atis_slots", as_jsonl("atis_slots", atis), "span_f1", trained, 0.957)
    names = ("wnut17train.conll.gz", "emerging.dev.conll.gz", "emerging.test.annotated.gz")
    reader = ConllReader(columns=[WORDS, TAGS], separator="\t", closing=None, comment=None)
    wnut = {
        split: [(r.values[WORDS], r.values[TAGS]) for r in reader.read(folder / "wnut17" / name)]
        for split, name in zip(("train", "val", "test"), names, strict=True)
    }
    yield from line("wnut17", as_jsonl("wnut17", wnut), "span_f1", trained)


def sentences(folder: Path, split: str) -> Iterator[tuple[list[str], list[str], str]]:
    """Words, slots and intent of ATIS."""
    name = {"train": "train.txt.gz", "val": "dev.txt.gz", "test": "test.txt.gz"}[split]
    reader = ConllReader(columns=[WORDS, TAGS], separator=None, closing="intent", comment=None)
    for row in reader.read(folder / "atis" / name):
        yield row.values[WORDS], row.values[TAGS], row.values["intent"]


def as_csv(name: str, splits: dict[str, list[list[str]]]) -> Path:
    """The folder with a file for each split."""
    folder = RUNS / "own_files" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *rows])
    return folder


def as_jsonl(name: str, splits: dict[str, list[tuple[list[str], list[str]]]]) -> Path:
    """The same, with words and tags in lists."""
    folder = RUNS / "own_files" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        lines = (json.dumps({"tokens": words, "tags": found}) + "\n" for words, found in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def line(
    name: str, folder: Path, figure: str, trained: Trained, target: float = 0.0
) -> Iterator[str]:
    """The line of a data set, trained by the command that is proposed for its folder."""
    proposal = inspect(folder.resolve())
    runs = trained.runs(name, *overrides(proposal, name))
    if not runs:
        return
    found = figures(runs)
    linear = found[0]["answer_controls"]["linear"][figure]
    reached = judged(max(target, round(linear, 4)), mean(each["answer"][figure] for each in found))
    cells = [values(found, "answer", figure), f"{linear:.4f}", reached, seconds(found)]
    yield f"| {name} | {figure} | {' | '.join(cells)} | {control_seconds(runs[0]):.0f} |"


def control_seconds(run: Training) -> float:
    """How long the controls of a run take to be fitted."""
    config = open_run(run.folder).config
    prepared = prepared_data(config)
    task = config.task.build(prepared.codec)
    examples: Iterable[Example] = list(prepared.examples("train"))
    started = time.perf_counter()
    task.fit(examples)
    return time.perf_counter() - started


TABLES = Tables(
    "own_files",
    {
        "labels": (
            "Labels of one's own texts",
            labels,
            "The linear model is TF-IDF with logistic regression on the same words.",
        ),
        "tags": (
            "Tags of one's own words",
            tags,
            "The linear model is an averaged perceptron on words, affixes and neighbours.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
