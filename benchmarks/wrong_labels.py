"""Wrong labels: how many of them `attnlab clean` finds, and what leaving them out is worth.

    python -m benchmarks.wrong_labels --data ../shared/data            # all; what ran is picked up
    python -m benchmarks.wrong_labels --data ../shared/data pictures   # some

A tenth of the training labels is changed to another label, drawn at random. `--threads` is of each
training.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attnlab.datasets.inspection import inspect
from attnlab.stages.data import overrides
from benchmarks.minilm import words as with_minilm
from benchmarks.own_files import as_csv, csv_rows, label_files
from benchmarks.robust import attnlab
from benchmarks.runs import RUNS, figures, over, verdict
from benchmarks.tables import Tables, Trained, seconds

SHARE = 0.1  # of the labels that are wrong
GOAL = 0.7  # precision where this share of the wrong ones is found
LABELS = "train-labels-idx1-ubyte.gz"
IDX_HEADER = 8  # bytes before the labels
PICTURES = ("experiment=mnist", "trainer.max_epochs=4")


@dataclass(frozen=True)
class Spoiled:
    """A data set with right labels and with some wrong ones."""

    name: str
    right: Sequence[str]  # the command of a training
    wrong: Sequence[str]  # the same where some labels are wrong
    changed: frozenset[int]  # the numbers of the rows whose labels are


def texts(data: str, trained: Trained) -> Iterator[str]:
    """Verdicts on sentences, by the model that model=auto chooses."""
    folder, spoiled, changed = sentences(data)
    right, wrong = (overrides(inspect(each.resolve()), each.name) for each in (folder, spoiled))
    yield from found(Spoiled("sst2", right, wrong, changed), trained)


def pretrained(data: str, trained: Trained) -> Iterator[str]:
    """Verdicts on sentences, by a pretrained encoder."""
    folder, spoiled, changed = sentences(data)
    right, wrong = (with_minilm(each.name, each, "full") for each in (folder, spoiled))
    yield from found(Spoiled("sst2-minilm", right, wrong, changed), trained)


def pictures(data: str, trained: Trained) -> Iterator[str]:
    """Handwritten digits."""
    labels = bytearray(gzip.decompress((Path(data) / "mnist" / LABELS).read_bytes()))
    changed = drawn(len(labels) - IDX_HEADER)
    for place in changed:
        others = set(range(10)) - {labels[IDX_HEADER + place]}
        labels[IDX_HEADER + place] = Random(place).choice(sorted(others))
    file = RUNS / "wrong_labels" / "data" / LABELS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(bytes(labels), mtime=0))
    wrong = (*PICTURES, f"dataset.splits.train.label={file.resolve()}")
    yield from found(Spoiled("mnist", PICTURES, wrong, changed), trained)


def sentences(data: str) -> tuple[Path, Path, frozenset[int]]:
    """The folder of SST-2, one with some wrong labels to train on, and which rows these are."""
    folder = dict(label_files(data))["sst2"]
    splits = {split: csv_rows(folder, split) for split in ("train", "val", "test")}
    labels = {label for _, label in splits["train"]}
    changed = drawn(len(splits["train"]))
    for row in changed:
        text, label = splits["train"][row]
        splits["train"][row] = [text, Random(row).choice(sorted(labels - {label}))]
    return folder, as_csv("sst2_wrong", splits), changed


def drawn(count: int) -> frozenset[int]:
    """Which rows of so many get a wrong label."""
    return frozenset(Random(0).sample(range(count), round(SHARE * count)))


def found(spoiled: Spoiled, trained: Trained) -> Iterator[str]:
    """Accuracy with right, wrong and cleaned labels, and how many of the wrong were found."""
    name, words = spoiled.name, tuple(spoiled.wrong)
    file = trained.folder(f"{name}-clean", 0) / "clean.jsonl"
    if not file.is_file():
        call = ["clean", *words, f"--output={file.parent}", "trainer.progress=false", "seed=0"]
        attnlab(*call, f"trainer.threads={trained.threads}", f"paths.data={trained.data}")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    wrong = np.array([int(row["id"].rpartition("-")[2]) in spoiled.changed for row in rows])
    runs = {
        "all right": trained.runs(f"{name}-right", *spoiled.right, seeds=1),
        "a tenth wrong": trained.runs(f"{name}-wrong", *words, seeds=1),
        "those in doubt left out": trained.runs(
            f"{name}-left-out", *words, f"dataset.annotations={file}", seeds=1
        ),
    }
    yield "| labels | accuracy | seconds |"
    yield "|---|---|---|"
    for title, each in runs.items():
        if each:
            yield f"| {title} | {over(each, 'accuracy')} | {seconds(figures(each))} |"
    yield ""
    yield from verdicts(rows, wrong)
    if all(runs.values()):
        right, spoilt, left = (over(each, "accuracy").mean for each in runs.values())
        half = verdict(round((right + spoilt) / 2, 4), left)
        yield f"- Of {right - spoilt:.4f} that wrong labels cost, half recovered, {half}."


def verdicts(rows: Sequence[dict[str, Any]], wrong: np.ndarray) -> Iterator[str]:
    """How well wrong labels are found: by the order of the losses, and by what is in doubt."""
    order = np.argsort([-row["loss"] for row in rows])
    hits = np.cumsum(wrong[order])
    read = int(np.searchsorted(hits, GOAL * wrong.sum())) + 1
    precision = round(hits[read - 1] / read, 3)
    yield f"- Precision {precision} where {GOAL:.0%} are found, {verdict(GOAL, precision)}."
    doubted = np.array(["label" in row["doubts"] for row in rows])
    precision = wrong[doubted].mean() if doubted.any() else float("nan")
    yield (
        f"- In doubt: {doubted.sum():,} of {len(rows):,} labels, precision {precision:.3f}, "
        f"recall {doubted[wrong].mean():.3f}."
    )


NOTE = (
    "`attnlab clean` trains four folds, and takes as doubtful what confident learning does "
    "(Northcutt et al. 2021); the first precision is that of the labels with the largest losses."
)
TABLES = Tables(
    "wrong_labels",
    {
        "texts": ("Wrong labels: SST-2", texts, f"The model is that of model=auto. {NOTE}"),
        "pretrained": (
            "Wrong labels: SST-2 by a pretrained encoder",
            pretrained,
            f"all-MiniLM-L6-v2, tuned whole. {NOTE}",
        ),
        "pictures": (
            "Wrong labels: MNIST",
            pictures,
            f"Labels of validation, a twelfth of the training pictures, are as wrong. {NOTE}",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
