"""The same rows in every format become the same examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.files import dataset, plain, read, whole, write

ROWS = [("a fine film , truly", "good"), ("dull", "bad"), ('he said "no" twice', "bad")]
EXPECTED = [
    ({"text": ["a", "fine", "film", ",", "truly"]}, "good"),
    ({"text": ["dull"]}, "bad"),
    ({"text": ["he", "said", '"', "no", '"', "twice"]}, "bad"),
]


def csv_file(path: Path) -> Path:
    quoted = [(text.replace('"', '""'), label) for text, label in ROWS]
    return write(path, "text,label", *(f'"{text}",{label}' for text, label in quoted))


def tsv_file(path: Path) -> Path:
    return write(path, *("\t".join(row) for row in ROWS))


def jsonl_file(path: Path) -> Path:
    return write(path, *(json.dumps({"label": b, "more": 1, "text": a}) for a, b in ROWS))


def parquet_file(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (attnlab[files])")
    import pyarrow.parquet as pq

    texts, labels = zip(*ROWS, strict=True)
    pq.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    return path


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("make", "overrides"),
    [
        (csv_file, ["dataset/reader=csv"]),
        (tsv_file, ["dataset/reader=tsv", "dataset.reader.header=[text,label]"]),
        (jsonl_file, ["dataset/reader=jsonl"]),
    ],
)
def test_tables(make, overrides: list[str], packed: str, tmp_path: Path) -> None:
    make(tmp_path / f"rows{packed}")
    examples = read(dataset(tmp_path, whole(f"rows{packed}"), *overrides))
    assert [plain(example) for example in examples] == EXPECTED
    assert len({example.id for example in examples}) == 3


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_parquet_in_batches_of_any_size(batch: int, tmp_path: Path) -> None:
    parquet_file(tmp_path / "rows.parquet")
    overrides = ["dataset/reader=parquet", f"dataset.reader.batch={batch}"]
    examples = read(dataset(tmp_path, whole("rows.parquet"), *overrides))
    assert [plain(example) for example in examples] == EXPECTED


def test_many_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    for part in (2, 1):
        write(tmp_path / f"part-{part}.csv", "text,label", f"number {part},x")
    examples = read(dataset(tmp_path, whole("part-*.csv")))
    assert [example.inputs["text"] for example in examples] == [["number", "1"], ["number", "2"]]


def test_a_quoted_cell_may_run_over_lines(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", "text,label", '"one', 'two",x', "three,y,z", "four,y")
    given = dataset(tmp_path, whole("rows.csv"), "dataset.bad_rows=0.5").build()
    examples = list(given.examples("train"))
    assert [example.inputs["text"] for example in examples] == [["one", "two"], ["four"]]
    assert "rows.csv row 4: 3 cells in 2 columns" in given.notes()["train"]


def test_text_pairs_with_their_alignment(tmp_path: Path) -> None:
    write(tmp_path / "a.en", "the house", "we sleep")
    write(tmp_path / "a.de.gz", "das Haus", "wir schlafen jetzt")
    write(tmp_path / "a.align", "0-0 1-1", "0-0 1p1 1p2")
    files = "{text: a.en, answer: a.de.gz, links: a.align}"
    overrides = ["dataset/reader=lines", "dataset/answer=text", "dataset/gold=links"]
    splits = f"dataset.splits={{train: {files}, val: 0.5, test: {{text: a.en, answer: a.de.gz}}}}"
    given = dataset(tmp_path, *overrides, splits)
    one, other = given.build()._all("train")
    assert plain(one) == ({"text": ["the", "house"]}, ["das", "Haus"])
    assert other.target is not None and other.target.possible is not None
    assert other.target.weights.tolist() == [[1, 0], [0, 0], [0, 0]]  # German x English
    assert other.target.possible.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_a_side_without_alignment_has_no_gold(tmp_path: Path) -> None:
    write(tmp_path / "a.en", "the house")
    write(tmp_path / "a.de", "das Haus")
    files = "{text: a.en, answer: a.de, links: null}"
    overrides = ["dataset/reader=lines", "dataset/answer=text", "dataset/gold=links"]
    splits = f"dataset.splits={{train: {files}, val: {files}, test: {files}}}"
    (example,) = read(dataset(tmp_path, *overrides, splits))
    assert example.target is None


def test_texts_of_different_length_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.en", "one", "two", "three")
    write(tmp_path / "a.de", "eins", "zwei")
    files = "{text: a.en, answer: a.de}"
    splits = f"dataset.splits={{train: {files}, val: 0.1, test: 0.1}}"
    with pytest.raises(UserError, match=r"splits.train: .*a\.de ends at line 2, the files beside"):
        read(dataset(tmp_path, "dataset/reader=lines", "dataset/answer=text", splits))


CONLL = ["# about", "John\tB-per", "sleeps\tO", "", "", "It\tO", "rains\tO", "."]


def test_conll(tmp_path: Path) -> None:
    write(tmp_path / "a.conll", *CONLL[:-1])
    overrides = ["dataset/reader=conll", "dataset/answer=tags", "dataset.inputs.text=word"]
    overrides.append("dataset.reader.comment='# '")
    examples = read(dataset(tmp_path, *overrides, whole("a.conll")))
    assert [plain(example) for example in examples] == [
        ({"text": ["John", "sleeps"]}, ["B-per", "O"]),
        ({"text": ["It", "rains"]}, ["O", "O"]),
    ]


def test_conll_with_a_closing_line_is_read_for_tags_or_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "fly O", "boston B-city", "flight", "", "fares O", "fare")
    overrides = ["dataset/reader=conll", "dataset.inputs.text=word", "dataset.reader.closing=what"]
    tags = read(dataset(tmp_path, *overrides, whole("a.txt"), "dataset/answer=tags"))
    assert [example.answer for example in tags] == [["O", "B-city"], ["O"]]
    labels = dataset(tmp_path, *overrides, whole("a.txt"), "dataset.answer.column=what")
    assert [example.answer for example in read(labels)] == ["flight", "fare"]


def test_a_reader_says_what_the_splits_have_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reader 'lines' takes a file for each column"):
        dataset(tmp_path, "dataset/reader=lines", "dataset/answer=text")
    with pytest.raises(ConfigError, match="reader 'csv' takes a file"):
        dataset(tmp_path, "dataset.splits.val={text: a}")


@pytest.mark.parametrize(
    ("lines", "words", "problem"),
    [
        (["text\tlabel", "one\tx"], [], "tabs, not commas; try: dataset/reader=tsv"),
        (
            ["text;label", "one;x"],
            [],
            "semicolons, not commas; try: dataset/reader=csv 'dataset.re",
        ),
        (["text,label", "one,x"], ["dataset/reader=tsv"], "commas, not tabs; try: dataset/reader="),
        (
            ["one\tx", "two\ty"],
            ["dataset.reader.header=[text,label]"],
            "tabs, not commas; try: dataset/reader=tsv",
        ),
    ],
)
def test_a_table_of_another_kind_is_told(
    lines: list[str], words: list[str], problem: str, tmp_path: Path
) -> None:
    write(tmp_path / "rows.csv", *lines)
    with pytest.raises(UserError) as caught:
        read(dataset(tmp_path, whole("rows.csv"), *words))
    assert str(caught.value).startswith(f"{tmp_path}/rows.csv: separated by {problem}")


def test_a_table_of_one_column_is_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", "one; two\tthree", "four")
    words = ["dataset.reader.header=[text]", "dataset/answer=none", "dataset.references=null"]
    (first, second) = dataset(tmp_path, whole("rows.csv"), *words).build().examples("train")
    assert (len(first.inputs["text"]), second.inputs["text"]) == (4, ["four"])
