"""What is proposed for files of one's own: the reader, the columns, the task, the gold."""

from __future__ import annotations

import csv
import gzip
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attnlab.datasets.inspection import inspect
from attnlab.errors import UserError
from tests.datasets.readers.files import SHARED

Row = dict[str, Any]
ROWS = 60


def review(number: int) -> Row:
    verdict = "good" if number % 2 else "bad"
    mark = "a joy" if number % 2 else "a pain"
    return {"text": f"film {number} is {mark} to see", "verdict": verdict, "why": [mark]}


def tagged(number: int) -> Row:
    return {"tokens": ["John", f"Smith{number}", "sleeps"], "tags": ["B-per", "I-per", "O"]}


def pair(number: int) -> Row:
    links = "0-0 1-1 2-2 3-3"
    return {"en": f"house {number} is low", "de": f"Haus {number} ist niedrig", "align": links}


def choice(number: int) -> Row:
    user, time = divmod(number, 6)
    return {"user_id": user, "item_id": (user + time * time) % 9, "stars": 4, "timestamp": time}


def summary(number: int) -> Row:
    sentences = [f"rain falls on day {number}", "nothing else is known", f"so it is wet {number}"]
    return {"source": sentences, "marks": [1, 0, 0], "target": [f"rain {number}", "it is wet"]}


def gaze(number: int) -> Row:
    return {"sentence": f"look here {number} please", "time": [1.5, 2.0, number, 0.5]}


def mail(number: int) -> Row:
    why = ("the box came open", "my code fails", "I paid twice")[number % 3]
    return {"mail": f"Hello, {why}. Mail {number}", "topic": why.split()[-1], "why": why}


def price(number: int) -> Row:
    return {"id": number, "advert": f"a flat of {number} rooms", "price": number * 1.7}


def claim(number: int) -> Row:
    label = ("yes", "no", "maybe")[number % 3]
    return {"premise": f"it rains {number} days", "hypothesis": f"wet {number} x", "label": label}


def jsonl(path: Path, row: Callable[[int], Row], rows: int = ROWS) -> Path:
    path.write_text("\n".join(json.dumps(row(number)) for number in range(rows)))
    return path


def table(path: Path, row: Callable[[int], Row], delimiter: str, header: bool = True) -> Path:
    lines = [delimiter.join(map(str, row(number).values())) for number in range(ROWS)]
    text = "\n".join([delimiter.join(row(0)), *lines] if header else lines)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def pictures(folder: Path, names: Callable[[str, int], str], suffix: str = ".png") -> Path:
    for label, shade in (("dark", 20), ("light", 200)):
        for number in range(12):
            path = folder / f"{names(label, number)}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.new("L", (16, 12), shade)
            picture.putpixel((number, 0), 255)  # no two alike
            picture.save(path)
    return folder


@pytest.mark.parametrize(
    ("row", "options", "columns", "words"),
    [
        (
            review,
            {"answer": "label", "gold": "quotes"},
            {
                "inputs": {"text": "text"},
                "answer": {"column": "verdict"},
                "gold": {"column": "why"},
            },
            ["task=classify", "metrics=rationale"],
        ),
        (
            tagged,
            {"answer": "tags"},
            {"inputs": {"text": "tokens"}, "answer": {"column": "tags"}},
            ["task=tag"],
        ),
        (
            pair,
            {"answer": "text", "gold": "links"},
            {"inputs": {"text": "en"}, "answer": {"column": "de"}, "gold": {"column": "align"}},
            ["task=generate", "metrics=alignment"],
        ),
        (
            summary,
            {"answer": "texts", "gold": "marks"},
            {
                "inputs": {"text": "source"},
                "sentences": ["text"],
                "words": {"split": "spaces", "lists": "texts"},
                "answer": {"column": "target"},
                "gold": {"column": "marks"},
            },
            ["task=generate", "metrics=rationale"],
        ),
        (
            gaze,
            {"answer": "none", "gold": "scores"},
            {"inputs": {"text": "sentence"}, "gold": {"column": "time"}},
            ["task=attend", "objective=unsupervised", "metrics=gaze"],
        ),
        (
            mail,
            {"answer": "label", "gold": "quotes"},
            {
                "inputs": {"text": "mail"},
                "answer": {"column": "topic"},
                "gold": {"column": "why"},
                "words": {"split": "punctuation"},  # the quotes end before a full stop
            },
            ["task=classify", "metrics=rationale"],
        ),
        (
            price,
            {"answer": "number"},
            {"inputs": {"text": "advert"}, "answer": {"column": "price"}},
            ["task=regress"],
        ),
        (
            claim,
            {"answer": "label"},
            {"inputs": {"text": "premise", "other": "hypothesis"}, "answer": {"column": "label"}},
            ["task=classify"],
        ),
    ],
)
def test_columns_are_told_by_what_they_hold(
    row: Callable[[int], Row], options: Row, columns: Row, words: list[str], tmp_path: Path
) -> None:
    found = inspect(jsonl(tmp_path / "rows.jsonl", row))
    assert found.options == {"reader": "jsonl"} | options
    assert {name: found.values[name] for name in columns} == columns
    assert found.values["splits"] == {"train": "rows.jsonl", "val": 0.2, "test": 0.2}
    assert found.words == words


@pytest.mark.parametrize(
    ("name", "delimiter", "reader", "values"),
    [
        ("rows.csv", ",", "csv", None),
        ("rows.tsv", "\t", "tsv", None),
        ("rows.csv", "\t", "tsv", None),
        ("rows.csv.gz", "\t", "tsv", None),
        ("rows.txt", ";", "csv", {"delimiter": ";"}),
    ],
)
def test_what_stands_between_cells_is_seen_whatever_the_name(
    name: str, delimiter: str, reader: str, values: Row | None, tmp_path: Path
) -> None:
    found = inspect(table(tmp_path / name, pair, delimiter))
    assert found.options["reader"] == reader
    assert found.values.get("reader") == values
    assert found.values["answer"] == {"column": "de"}


def test_a_table_without_names_gets_some(tmp_path: Path) -> None:
    found = inspect(table(tmp_path / "rows.tsv", price, "\t", header=False))
    assert found.values["reader"] == {"header": ["column_1", "column_2", "column_3"]}
    assert found.values["inputs"] == {"text": "column_2"}
    assert found.words == ["task=regress"]


@pytest.mark.parametrize(
    ("name", "different", "words"),
    [
        ("balance", 21, ["task=regress"]),
        ("stars", 5, ["task=classify"]),
        ("label", 21, ["task=classify"]),
    ],
)
def test_many_different_numbers_are_amounts_and_few_are_grades(
    name: str, different: int, words: list[str], tmp_path: Path
) -> None:
    """Whole numbers that come again and again; one cell holds none."""
    rows = [["text", name], ["the first of them", "n/a"]]
    rows += [[f"what is said of number {i}", str(i % different - 3)] for i in range(200)]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    assert inspect(tmp_path / "rows.csv").words == words


def test_cells_may_go_over_many_lines(tmp_path: Path) -> None:
    """What is looked at ends in the middle of a row."""
    rows = [["text", "label"]]
    rows += [["a fine film ,\n" * 30 + f"number {i}", ("bad", "good")[i % 2]] for i in range(9)]
    with (tmp_path / "films.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    proposal = inspect(tmp_path / "films.csv")
    assert (proposal.options["reader"], proposal.options["answer"]) == ("csv", "label")


def test_a_log_of_choices(tmp_path: Path) -> None:
    found = inspect(table(tmp_path / "log.csv", choice, ","))
    assert (found.base, found.words) == ("interactions", ["task=rank"])
    wanted = {"file": "log.csv", "user": "user_id", "item": "item_id", "time": "timestamp"}
    assert found.values == {"folder": str(tmp_path)} | wanted


def test_times_that_are_no_numbers_are_not_used(tmp_path: Path) -> None:
    row = lambda number: choice(number) | {"timestamp": f"2024-01-{number % 28 + 1:02}"}  # noqa: E731
    found = inspect(table(tmp_path / "log.csv", row, ","))
    assert found.values["time"] is None
    assert "'timestamp' is no number: rows are taken in their order" in found.notes


def test_files_beside_it_that_are_named_so_are_the_other_splits(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "test.csv", "trainer_notes.txt"):
        table(tmp_path / name, pair, ",")
    splits = {"train": "train.csv", "val": "dev.csv", "test": "test.csv"}
    assert inspect(tmp_path).values["splits"] == splits
    assert inspect(tmp_path / "train.csv").values["splits"] == splits
    assert inspect(tmp_path / "dev.csv").values["splits"]["train"] == "dev.csv"


@pytest.mark.parametrize(
    ("names", "splits", "pattern"),
    [
        (lambda label, n: f"{label}/{n}", {"train": "*/*.png"}, "{label}/{id}.png"),
        (lambda label, n: f"{label}_{n}", {"train": "*.png"}, "{label}_{id}.png"),
        (
            lambda label, n: f"{'train' if n < 8 else 'test'}/{label}/{n}",
            {"train": "train/*/*.png", "test": "test/*/*.png"},
            "{label}/{id}.png",
        ),
    ],
)
def test_pictures_are_labelled_by_their_names(
    names: Callable[[str, int], str], splits: Row, pattern: str, tmp_path: Path
) -> None:
    found = inspect(pictures(tmp_path, names))
    assert found.base == "pictures"
    assert found.values["splits"] == {"val": 0.2, "test": 0.2} | splits
    assert found.values["reader"] == {"pattern": pattern}
    assert (found.values["size"], found.values["colour"]) == ([12, 16], "grey")
    assert found.words == ["task=classify"], "no model: model=auto chooses settings"


def test_sounds_say_their_rate(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / ("yes", "no")[number % 2] / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(800))
    found = inspect(tmp_path)
    assert (found.base, found.words) == ("sounds", ["task=classify"])
    assert (found.values["sample_rate"], found.values["hop"]) == (8000, 80)


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="attnlab[files]")
    parquet = pytest.importorskip("pyarrow.parquet", reason="attnlab[files]")
    rows = arrow.Table.from_pylist([review(number) for number in range(ROWS)])
    parquet.write_table(rows, tmp_path / "rows.parquet")
    found = inspect(tmp_path / "rows.parquet")
    assert found.options == {"reader": "parquet", "answer": "label", "gold": "quotes"}


def test_a_word_a_line(tmp_path: Path) -> None:
    sentence = "John B-per\nSmith{0} I-per\nsleeps O\n"
    (tmp_path / "a.conll").write_text("\n".join(sentence.format(n) for n in range(ROWS)))
    found = inspect(tmp_path / "a.conll")
    assert found.options == {"reader": "conll", "answer": "tags"}
    assert found.values["reader"] == {"columns": ["word", "tag"]}


def test_short_texts_in_columns_that_are_called_so(tmp_path: Path) -> None:
    rows = "".join(f"{n} may {1900 + n},{1900 + n}-05-{n:02}\n" for n in range(10, 30))
    (tmp_path / "a.csv").write_text(f"source,target\n{rows.replace(' may ', '/5/')}")
    found = inspect(tmp_path / "a.csv")
    assert found.values["inputs"] == {"text": "source"} and "task=generate" in found.words
    assert found.values["answer"] == {"column": "target"}


def test_another_encoding_is_seen(tmp_path: Path) -> None:
    rows = [f"un caf\xe9 de plus, num\xe9ro {i}\t{'xy'[i % 2]}" for i in range(30)]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *rows]), encoding="latin1")
    assert (
        inspect(tmp_path / "a.tsv").notes[1].startswith("30 of 30 rows are not UTF-8; try: iconv ")
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no table; its first line is ''"),
        ("once upon a time\nthere was\n", "no table; its first line is 'once upon a time'"),
        ("a,b\n1,2\n3,4\n", "no text with an answer to it: 'a' holds 1, 3; 'b' holds 2, 4"),
        ("text,id\n" + "some words,1\nother words,2\n" * 9, "no text with an answer to it: 'tex"),
    ],
)
def test_what_cannot_be_read_is_told(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(content)
    with pytest.raises(UserError) as caught:
        inspect(tmp_path / "file.csv")
    assert str(caught.value).startswith(f"{tmp_path}/file.csv: {problem}")


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    folder = pictures(tmp_path, lambda label, n: f"{label}/{n}")
    size = inspect(folder).values["size"]
    first, *others = sorted(folder.rglob("*.png"))
    first.write_bytes(b"no picture")
    assert inspect(folder).values["size"] == size
    for path in others:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no picture that can be read"):
        inspect(folder)


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tables, pictures or sounds, but nothing"):
        inspect(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        inspect(tmp_path / "nowhere")
    pictures(tmp_path, lambda label, number: f"{label}{number}")
    with pytest.raises(UserError, match=r"pictures without labels; put them in folders, LABEL/NA"):
        inspect(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data")
@pytest.mark.parametrize(
    ("name", "reader", "task"),
    [
        ("sst2/train.tsv.gz", "tsv", "classify"),
        ("phrasebank", "tsv", "classify"),
        ("wnut17/wnut17train.conll.gz", "conll", "tag"),
        ("scitldr_a/train.jsonl.gz", "jsonl", "generate"),
        ("ml_100k/ml-100k.inter.gz", "tsv", "rank"),
    ],
)
def test_published_files(name: str, reader: str, task: str) -> None:
    found = inspect(SHARED / name)
    assert found.options["reader"] == reader
    assert f"task={task}" in found.words
