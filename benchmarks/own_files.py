"""Files as a user has them, and no key beyond paths, columns and task: beside a simple model.

    python -m benchmarks.own_files --data ../shared/data           # all; what ran is picked up
    python -m benchmarks.own_files --data ../shared/data labels    # some

The data are written as CSV and JSON Lines below runs/benchmarks/own_files; each command is the one
that `attnlab data inspect` proposes for them. `--threads` is of each training.
"""

from __future__ import annotations

import csv
import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from attnlab.data.example import Example
from attnlab.datasets.inspection import inspect
from attnlab.datasets.readers.corpora import ConllReader
from attnlab.datasets.readers.files import lines
from attnlab.datasets.readers.tables import CsvReader, JsonlReader
from attnlab.stages.data import overrides
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import open_run
from benchmarks.runs import RUNS, Training, figures, verdict
from benchmarks.tables import Tables, Trained, seconds, values

CONTROLS = {  # of the figures: what it is called in a table
    "linear": "linear model",
    "nearest": "most similar text's answer",
    "item_neighbours": "item-kNN",
}
CAPTIONS = 6_000  # pairs of captions to learn from
WORDS, TAGS = "text", "tags"


def labels(data: str, trained: Trained) -> Iterator[str]:
    """A label for each text, as CSV."""
    yield from head("linear")
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
    yield from head("linear")
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


def long_texts(data: str, trained: Trained) -> Iterator[str]:
    """A label for each text of many hundred words, as CSV."""
    yield from head("linear")
    movies = Path(data) / "eraser_movies"
    with zipfile.ZipFile(movies / "docs.zip") as documents:
        files = {Path(name).name: name for name in documents.namelist()}
        splits = {
            split: [
                [documents.read(files[str(row["annotation_id"])]).decode(), row["classification"]]
                for row in rows_of(movies / f"{split}.jsonl.gz")
            ]
            for split in ("train", "val", "test")
        }
    yield from line("movies", as_csv("movies", splits), "accuracy", trained)


def rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file of JSON Lines."""
    return (row.values for row in JsonlReader().read(path))


def pairs(data: str, trained: Trained) -> Iterator[str]:
    """A text to write for each text, as CSV."""
    yield from head("nearest")
    raw = Path(data) / "multi30k_ende" / "raw"
    files = {"train": "train", "val": "val", "test": "test_2016_flickr"}
    splits = {
        split: [list(pair) for pair in islice(zip(*sides(raw, file), strict=True), CAPTIONS)]
        for split, file in files.items()
    }
    folder = as_csv("captions", splits, ("source", "target"))
    yield from line("captions", folder, "bleu", trained, control="nearest")


def sides(folder: Path, name: str) -> list[Iterator[str]]:
    """The lines of a text in both languages."""
    return [lines(folder / f"{name}.{language}.gz") for language in ("en", "de")]


def histories(data: str, trained: Trained) -> Iterator[str]:
    """A log of who chose what, as CSV."""
    yield from head("item_neighbours")
    films = CsvReader(delimiter="\t", quote=None, header=None)
    log = films.read(Path(data) / "ml_100k" / "ml-100k.inter.gz")
    names = ("user_id:token", "item_id:token", "timestamp:float")
    rows = [[str(row.values[name]) for name in names] for row in log]
    folder = as_csv("films", {"log": rows}, ("user", "item", "time"))
    yield from line("films", folder, "hr@10", trained, control="item_neighbours")


def sentences(folder: Path, split: str) -> Iterator[tuple[list[str], list[str], str]]:
    """Words, slots and intent of ATIS."""
    name = {"train": "train.txt.gz", "val": "dev.txt.gz", "test": "test.txt.gz"}[split]
    reader = ConllReader(columns=[WORDS, TAGS], separator=None, closing="intent", comment=None)
    for row in reader.read(folder / "atis" / name):
        yield row.values[WORDS], row.values[TAGS], row.values["intent"]


def csv_rows(folder: Path, split: str) -> list[list[str]]:
    """Texts and labels of a split that `as_csv` wrote."""
    with (folder / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def as_csv(
    name: str, splits: dict[str, list[list[str]]], columns: tuple[str, ...] = ("text", "label")
) -> Path:
    """The folder with a file for each split."""
    folder = RUNS / "own_files" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
    return folder


def as_jsonl(name: str, splits: dict[str, list[tuple[list[str], list[str]]]]) -> Path:
    """The same, with words and tags in lists."""
    folder = RUNS / "own_files" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        lines = (json.dumps({"tokens": words, "tags": found}) + "\n" for words, found in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def head(control: str) -> Iterator[str]:
    """The first lines of a table."""
    simple = CONTROLS[control]
    yield (
        f"| files | figure | model=auto | {simple} | at least the {simple} | seconds | "
        f"seconds of the {simple} |"
    )
    yield "|---|---|---|---|---|---|---|"


def line(
    name: str,
    folder: Path,
    figure: str,
    trained: Trained,
    target: float = 0.0,
    control: str = "linear",
) -> Iterator[str]:
    """The line of a data set, trained by the command that is proposed for its folder."""
    proposal = inspect(folder.resolve())
    runs = trained.runs(name, *overrides(proposal, name))
    if not runs:
        return
    found = figures(runs)
    simple = found[0]["answer_controls"][control][figure]
    reached = verdict(max(target, round(simple, 4)), mean(each["answer"][figure] for each in found))
    cells = [values(found, "answer", figure), f"{simple:.4f}", reached, seconds(found)]
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
        "long": (
            "Labels of one's own long texts",
            long_texts,
            "Documents of 773 words in the mean. "
            "The linear model is TF-IDF with logistic regression on the same words.",
        ),
        "pairs": (
            "Texts for one's own texts",
            pairs,
            f"{CAPTIONS:,} captions and their translations, words as written; BLEU of words and "
            "punctuation in small letters and capitals. The control gives the translation of the "
            "training caption with the greatest cosine of TF-IDF.",
        ),
        "histories": (
            "A log of one's own",
            histories,
            "MovieLens 100K, films in the order in which they were rated, ranks among all films. "
            "Item-kNN looks at all neighbours of the last ten films.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
