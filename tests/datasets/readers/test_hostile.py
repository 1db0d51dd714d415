"""Files and cells that would end, stall or mislead a run: counted as bad rows, with limits."""

from __future__ import annotations

import gzip
import io
import json
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attnlab.data.prepared import prepare
from attnlab.datasets.readers import files, pictures, sounds
from attnlab.errors import UserError
from tests.datasets.readers.files import dataset, read, whole, write
from tests.datasets.readers.media import dataset as media
from tests.datasets.readers.media import wav

MANY = "dataset.bad_rows=0.9"


def problems(given) -> tuple[list, str]:
    """The usable examples of training, and what is said of the others."""
    source = given.build()
    examples = list(source.examples("train"))
    return examples, source.notes().get("train", "")


@pytest.fixture(autouse=True)
def quick():
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


def test_a_quote_that_is_never_closed_costs_every_row_behind_it(tmp_path: Path) -> None:
    rows = [f"text {i},x" for i in range(200)]
    rows[83] = '"text 83,x'
    write(tmp_path / "a.csv", "text,label", *rows)
    with pytest.raises(UserError, match=r"117 of 200 rows .*a.csv row 85: .*quote .*never closed"):
        read(dataset(tmp_path, whole("a.csv")))


def test_a_quote_that_is_closed_by_another_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", '"one,x', "two,y", '"three",z', "four,w")
    examples, said = problems(dataset(tmp_path, whole("a.csv"), MANY))
    assert [example.answer for example in examples] == ["w"]
    assert "3 of 4 rows" in said
    assert "a.csv row 2: " in said


PATHS = ["../secret.txt", "sub/../../secret.txt", "/etc/hostname", "link.txt", "linked/secret.txt"]


@pytest.mark.parametrize("cell", PATHS)
def test_a_cell_reaches_no_file_outside_of_the_folder(cell: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.txt", "secret")
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    write(docs / "good.txt", "fine")
    (docs / "link.txt").symlink_to(tmp_path / "secret.txt")
    (docs / "linked").symlink_to(tmp_path)
    write(tmp_path / "a.csv", "text,label", "good.txt,x", f"{cell},y")
    given = dataset(tmp_path, whole("a.csv"), MANY, "dataset.documents={text: docs}")
    examples, said = problems(given)
    assert [example.inputs["text"] for example in examples] == [["fine"]]
    assert "leads out of 'docs'" in said


def test_a_picture_that_leads_out_of_the_folder_is_a_bad_row(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "x").mkdir(parents=True)
    for place in (folder / "x/good.png", tmp_path / "secret.png"):
        place.write_bytes(png(8, 8))
    (folder / "x/link.png").symlink_to(tmp_path / "secret.png")
    examples, said = problems(media("pictures", folder, whole("x/*.png"), MANY))
    assert len(examples) == 1
    assert "'x/link.png' leads out of 'data'" in said


def test_a_long_list_is_read_in_no_time(tmp_path: Path) -> None:
    words = [f"w{i:05}" for i in range(40_000)]  # 7 characters each, with the space
    row = {"text": words, "label": "x", "gold": [[7 * i, 7 * i + 2] for i in range(0, 40_000, 4)]}
    write(tmp_path / "a.jsonl", json.dumps(row))
    spans = ["dataset/gold=spans", "dataset.gold.counts=characters"]
    overrides = ["dataset/reader=jsonl", *spans, "dataset.gold.column=gold"]
    (example,) = read(dataset(tmp_path, whole("a.jsonl"), *overrides))
    assert example.inputs["text"] == words


DEEP = "[" * 100_000 + "]" * 100_000
CELLS = {
    "nested": f'{{"text": {DEEP}, "label": "x"}}',
    "digits": f'{{"text": "a", "label": {"9" * 5000}}}',
    "gold nested": json.dumps({"text": "a b", "label": "x", "gold": "[" * 900 + "1" + "]" * 900}),
    "gold infinite": '{"text": "a b", "label": "x", "gold": [Infinity, 1]}',
    "gold huge": f'{{"text": "a b", "label": "x", "gold": [1{"0" * 400}, 1]}}',
    "gold uneven": '{"text": "a b", "label": "x", "gold": [[1], 2]}',
    "gold object": '{"text": "a b", "label": "x", "gold": {"a": 1}}',
    "not an object": "[1, 2]",
    "text object": '{"text": {"a": 1}, "label": "x"}',
}


@pytest.mark.parametrize("kind", ["scores", "marks", "facts", "spans", "quotes"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_hostile_cell_is_a_bad_row(kind: str, cell: str, tmp_path: Path) -> None:
    good = {
        "scores": [1, 2], "marks": [1, 0], "facts": [0], "spans": [[0, 1]], "quotes": "a"
    }[kind]  # fmt: skip
    row = json.dumps({"text": "a b", "label": "x", "gold": good})
    write(tmp_path / "a.jsonl", row, CELLS[cell])
    overrides = ["dataset/reader=jsonl", f"dataset/gold={kind}", "dataset.gold.column=gold"]
    examples, said = problems(dataset(tmp_path, whole("a.jsonl"), MANY, *overrides))
    assert len(examples) == 1
    assert "1 of 2 rows" in said


@pytest.mark.parametrize("reader", ["jsonl", "csv"])
def test_a_line_without_end_is_a_bad_row(reader: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 16)
    good = {"jsonl": '{"text": "a", "label": "x"}\n', "csv": "a,x\n"}[reader]
    with gzip.open(tmp_path / "a.gz", "wt") as file:
        file.write("text,label\n" if reader == "csv" else "")
        file.writelines([good, "0" * (1 << 21), "\n", good])
    overrides = [f"dataset/reader={reader}", MANY]
    examples, said = problems(dataset(tmp_path, whole("a.gz"), *overrides))
    assert len(examples) == 2
    assert "longer than 65,536 characters" in said


def test_a_document_that_unpacks_to_too_much_is_a_bad_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 16)
    with zipfile.ZipFile(tmp_path / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", "0" * (1 << 20))
        archive.writestr("good.txt", "fine")
    (tmp_path / "docs").mkdir()
    write(tmp_path / "docs/bomb.txt", "0" * (1 << 17))
    write(tmp_path / "docs/good.txt", "fine")
    write(tmp_path / "a.csv", "text,label", "good.txt,x", "bomb.txt,y")
    for where in ("docs", "docs.zip"):
        documents = f"dataset.documents={{text: {where}}}"
        examples, said = problems(dataset(tmp_path, whole("a.csv"), MANY, documents))
        assert len(examples) == 1
        assert "'bomb.txt' has more than 65,536 bytes" in said


def test_zip_entries_that_cannot_be_read_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "docs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "fine")
        archive.writestr("locked.txt", "secret")
        archive.writestr("strange.txt", "packed")
    content = bytearray(path.read_bytes())
    for name, offset, value in ((b"locked.txt", 8, 1), (b"strange.txt", 10, 99)):
        entry = content.rindex(name) - 46  # in the central directory
        content[entry + offset] |= value
        local = content.index(name) - 30
        content[local + offset - 2] |= value
    path.write_bytes(content)
    write(tmp_path / "a.csv", "text,label", "good.txt,x", "locked.txt,y", "strange.txt,z")
    given = dataset(tmp_path, whole("a.csv"), MANY, "dataset.documents={text: docs.zip}")
    examples, said = problems(given)
    assert len(examples) == 1
    assert "'locked.txt' cannot be unpacked" in said
    assert "'strange.txt' cannot be unpacked" in said


def png(width: int, height: int, mode: str = "1") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "png")
    return file.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A small picture whose head says that it is large."""
    content = bytearray(png(1, 1, "L"))
    content[16:24] = struct.pack(">II", width, height)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def test_huge_pictures_are_bad_rows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10_000)
    (tmp_path / "x").mkdir()
    contents = [png(8, 8), png(120, 100), claimed(20_000, 20_000), b"no picture"]
    for number, content in enumerate(contents):
        (tmp_path / f"x/{number}.png").write_bytes(content)
    examples, said = problems(media("pictures", tmp_path, whole("x/*.png"), MANY))
    assert len(examples) == 1
    assert "120 x 100 pixels, more than 10,000" in said
    assert "'x/2.png' is too large" in said


def test_hostile_heads_of_sounds_are_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    good = wav(np.zeros(800, np.float32), 8000)
    (tmp_path / "x/0.wav").write_bytes(good)
    for number, (offset, form, value) in enumerate(
        [(24, "<I", 2**31 - 1), (24, "<I", 0), (22, "<H", 0), (34, "<H", 0)], start=1
    ):
        content = bytearray(good)
        struct.pack_into(form, content, offset, value)
        (tmp_path / f"x/{number}.wav").write_bytes(content)
    examples, said = problems(media("sounds", tmp_path, whole("x/*.wav"), MANY))
    assert len(examples) == 1
    assert "4 of 5 rows" in said
    assert f"more than {sounds.FASTEST:,}" in said


def test_sounds_that_are_cut_short_are_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    good = wav(np.zeros(800, np.float32), 8000, channels=2)
    broken = [good[:500], good[:-1], good[:14] + good[30:], good[:13], b"RIFF", b""]
    for number, content in enumerate([good, *broken]):
        (tmp_path / f"x/{number}.wav").write_bytes(content)
    examples, said = problems(media("sounds", tmp_path, whole("x/*.wav"), MANY))
    assert len(examples) == 1
    assert "6 of 7 rows" in said
    assert "'x/1.wav' is cut short: 456 of 1,600 bytes" in said


def test_a_sound_from_a_pipe_says_no_length(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    content = bytearray(wav(np.full(800, 0.5, np.float32), 8000))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "x/0.wav").write_bytes(content)
    (example,) = problems(media("sounds", tmp_path, whole("x/*.wav"), MANY))[0]
    assert example.inputs["audio"].any()


def test_a_bit_of_parquet_that_changed_is_told_as_damage(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"text": f"word {i} of many", "label": "ab"[i % 2]} for i in range(300)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, write_page_checksum=True)
    content, reported = path.read_bytes(), 0
    given = dataset(tmp_path, whole("a.parquet"), "dataset/reader=parquet")
    for place in range(len(content) // 4, 3 * len(content) // 4, 101):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            read = list(given.build().examples("train"))
        except UserError as error:
            assert str(error).startswith(f"{path}: damaged, or not Parquet (")
            reported += 1
        else:
            assert [" ".join(example.inputs["text"]) for example in read] == [
                row["text"] for row in rows
            ]
    assert reported > 10


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_file_of_few_rows_is_told_as_such(rows: int, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", *(f"word {i},x" for i in range(rows)))
    given = dataset(tmp_path, "dataset.splits.train=a.csv")
    with pytest.raises(UserError, match=r"dataset: no examples for '.+' in what was read"):
        prepare(given, tmp_path / "prepared")
