"""From rows to examples: what is bad, what is missing, what is held out, what is cut."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attnlab.data.prepared import fingerprint
from attnlab.datasets.readers.words import WORD
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.files import dataset, prepared, read, whole, write


def test_bad_rows_are_counted_and_shown_with_file_and_row(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", *["fine words,x"] * 96, ",x", "a,b,c", "word,", "ok,y")
    said: list[str] = []
    made = prepared(dataset(tmp_path, whole("a.csv"), "dataset.bad_rows=0.03"), tmp_path, said)
    assert made.meta["sizes"] == {"train": 97, "val": 97, "test": 97}
    expected = (
        "3 of 100 rows cannot be used (a.csv row 98: 'text' is empty; "
        "a.csv row 99: 3 cells in 2 columns; a.csv row 100: 'label' is empty)"
    )
    assert made.meta["notes"]["train"] == expected
    assert f"  train: {expected}" in said


def test_too_many_bad_rows_stop_the_run_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", *["fine,x"] * 95, *[",x"] * 5)
    given = dataset(tmp_path, whole("a.csv"), "dataset.bad_rows=0.04")
    with pytest.raises(UserError) as caught:
        prepared(given, tmp_path)
    text = str(caught.value)
    assert text.startswith("dataset.splits.train: 5 of 100 rows cannot be used (a.csv row 97: ")
    allowed = "dataset.bad_rows allows 4.00%; to leave them out: dataset.bad_rows=0.05"
    assert text.endswith(f"; and 2 more); {allowed}")
    assert "\n" not in text
    assert not (tmp_path / "prepared").exists()


def test_bytes_that_are_not_utf8_spoil_their_row_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\ncaf\xe9,x\n".encode("latin1") + b"ok,y\n")
    source = dataset(tmp_path, whole("a.csv"), "dataset.bad_rows=0.5").build()
    assert [example.answer for example in source.examples("train")] == ["y"]
    assert source.notes()["train"].endswith("(a.csv row 2: 'text' is not UTF-8)")


def test_files_of_another_form_are_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("text,label\ncaf\xe9,x\n".encode("latin1"))
    (tmp_path / "wide.csv").write_text("text,label\nok,x\n", encoding="utf-16")
    write(tmp_path / "array.json", '[{"text": "ok", "label": "x"}]')
    write(tmp_path / "lines.json", '{"text": "ok", "label": "x"}')
    for name, end, words in (
        ("latin.csv", "; try: iconv -f latin1 -t utf-8 FILE > NEW_FILE", []),
        ("wide.csv", "wide.csv > NEW_FILE", []),
        ("array.json", "array.json > array.jsonl", []),
        ("lines.json", "lines.json: JSON, not a table; try: dataset/reader=jsonl", []),
        ("array.json", "array.json > array.jsonl", ["dataset/reader=jsonl"]),
    ):
        with pytest.raises(UserError) as caught:
            read(dataset(tmp_path, whole(name), *words))
        assert str(caught.value).endswith(end)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\nok,y\n")
    assert [example.answer for example in read(dataset(tmp_path, whole("a.csv")))] == ["y"]


def test_what_is_missing_is_known_before_any_row_is_read(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label", "ok,y")
    write(tmp_path / "none.csv", "text,label")
    dataset(tmp_path).build().require()
    for split, wrong in (("train", "trian.csv"), ("val", "vla.csv")):
        splits = {"train": "train.csv", split: wrong}
        words = [f"dataset.splits.{name}={file}" for name, file in splits.items()]
        with pytest.raises(UserError, match=f"^dataset.splits.{split}: no file .*{wrong}; "):
            dataset(tmp_path, *words).build().require()
    with pytest.raises(UserError, match=r"^dataset.inputs.text: no column 'txt' in train.csv; "):
        dataset(tmp_path, "dataset.inputs.text=txt").build().require()
    with pytest.raises(UserError, match=r"^dataset.splits.train: no rows in .*/none.csv$"):
        dataset(tmp_path, "dataset.splits.train=none.csv").build().require()


def test_missing_things_are_one_line_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "sentence,label", "ok,y")
    with pytest.raises(UserError) as caught:
        read(dataset(tmp_path, whole("trian.csv")))
    expected = f"dataset.splits.train: no file {tmp_path}/trian.csv; did you mean 'train.csv'?"
    assert str(caught.value).startswith(expected)
    with pytest.raises(
        UserError,
        match=r"dataset.inputs.text: no column 'sentense' in train.csv; "
        "did you mean 'sentence'",
    ):
        read(dataset(tmp_path, whole("train.csv"), "dataset.inputs.text=sentense"))
    said = r"dataset.gold.column: no column 'rationale' in train.csv; allowed: label, sentence"
    with pytest.raises(UserError, match=said):
        overrides = ["dataset.inputs.text=sentence", "dataset/gold=spans"]
        read(dataset(tmp_path, whole("train.csv"), *overrides))
    with pytest.raises(UserError, match=r"no folder .*/nowhere; put the data there, or try"):
        read(dataset(tmp_path / "nowhere", whole("a.csv")))


def test_missing_files_are_told_when_prepared(tmp_path: Path) -> None:
    """They are not taken for a folder that cannot be written."""
    with pytest.raises(UserError, match=r"^dataset.splits.train: no file"):
        prepared(dataset(tmp_path, whole("a.csv")), tmp_path)


def test_a_file_that_breaks_off_is_damaged(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"word {i * i}", "label": "x"}) + "\n" for i in range(9999))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-2000])
    with pytest.raises(UserError, match=r"a.jsonl.gz: damaged"):
        read(dataset(tmp_path, whole("a.jsonl.gz"), "dataset/reader=jsonl"))


def test_lines_that_are_no_json(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"text": "ok", "label": 1}', "{oops", "[1]")
    given = dataset(tmp_path, whole("a.jsonl"), "dataset/reader=jsonl", "dataset.bad_rows=0.9")
    source = given.build()
    assert [example.answer for example in source.examples("train")] == ["1"]
    assert "row 2: no JSON" in source.notes()["train"]
    assert "row 3: not a JSON object" in source.notes()["train"]


@pytest.mark.parametrize(
    ("gold", "cell", "marked"),
    [
        (["spans"], "1:3", [0, 1, 1, 0]),
        (["spans"], "0-1, 3-4", [1, 0, 0, 1]),
        (["spans"], [[1, 3]], [0, 1, 1, 0]),
        (
            ["spans", "dataset.gold.keys=[a,b]"],
            [[{"a": 0, "b": 2}], [{"a": 3, "b": 4}]],
            [1, 1, 0, 1],
        ),
        (["spans", "dataset.gold.counts=characters"], [[4, 8], [18, 19]], [0, 1, 0, 1]),
        (["spans"], [], [0, 0, 0, 0]),
        (["spans"], [[2, 2], [0, 1]], [1, 0, 0, 0]),
        (["quotes"], "Fine  film", [0, 1, 1, 0]),
        (["quotes"], ["the", "film dull"], [1, 0, 1, 1]),
        (["quotes"], [], [0, 0, 0, 0]),
        (["marks"], [0, 1, 1, 0], [0, 1, 1, 0]),
        (["marks"], "0 1 1 0", [0, 1, 1, 0]),
        (["spans"], {"ann": "1:3", "ben": [[1, 2]], "cem": None}, [0, 1, 0.5, 0]),
        (
            ["spans", "dataset.gold.keys=[a,b]"],
            {"ann": [{"a": 0, "b": 2}], "ben": {"a": 1, "b": 3}},
            [0.5, 1, 0.5, 0],
        ),
        (["quotes"], {"ann": "fine film", "ben": ["the", "fine"]}, [0.5, 1, 0.5, 0]),
        (["marks"], [[0, 1, 1, 0], [0, 1, 0, 0]], [0, 1, 0.5, 0]),
        (["scores"], "0.5, 0, 0.25, 0.25", [0.5, 0, 0.25, 0.25]),
        (["scores"], [[1, 0, 0, 1], [0, 3, 0, 0]], [0.25, 0.5, 0, 0.25]),
    ],
)
def test_gold(gold: list[str], cell: object, marked: list[float], tmp_path: Path) -> None:
    row = {"text": "the film was dull", "label": "bad", "gold": cell}
    row["text"] = "the fine film dull"  # characters: the 0-3, fine 4-8, film 9-13, dull 14-18
    row["text"] += "!" if cell == [[4, 8], [18, 19]] else ""
    write(tmp_path / "a.jsonl", json.dumps(row))
    overrides = [f"dataset/gold={gold[0]}", *gold[1:], "dataset.gold.column=gold"]
    overrides += ["dataset/reader=jsonl", "dataset.words.split=spaces"]
    (example,) = read(dataset(tmp_path, whole("a.jsonl"), *overrides))
    assert example.target is not None
    np.testing.assert_allclose(example.target.weights, [marked])
    people = example.target.annotators
    if people and gold[0] != "scores":
        assert len(people) == 2 and example.target.kind == "soft"
        np.testing.assert_allclose(np.mean(people, 0), [marked])
        assert {*np.unique(people)} == {0, 1}


@pytest.mark.parametrize(
    ("gold", "cell", "problem"),
    [
        ("spans", "3:9", "span 3:9 is empty or outside of 4 units"),
        ("spans", "x", "'x' is not a span such as 3:7"),
        ("spans", {"ann": None}, "gold names annotators, and none has marked anything"),
        ("spans", [{"a": 1}], "a span is an object: dataset.gold.keys has to name its two ends"),
        ("quotes", ["a", "b d"], "'gold' quotes what the text does not say: 'b d'"),
        ("quotes", [" "], "'gold' quotes what the text does not say: ' '"),
        ("quotes", [["a"]], "'gold' is not text but list"),
        ("marks", [0, 1, 2, 0], "'gold' is not a list of 0 and 1"),
        ("marks", [0, 1], "2 marks for 4 words"),
        ("scores", "0.5 0.5 1", "3 scores for 4 words"),
        ("scores", [1, -1, 1, 1], "scores have to be finite and not negative"),
        ("scores", "a b c d", "gold is not a list of numbers"),
    ],
)
def test_bad_gold(gold: str, cell: object, problem: str, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", json.dumps({"text": "a b c d", "label": "x", "gold": cell}))
    overrides = [f"dataset/gold={gold}", "dataset.gold.column=gold", "dataset/reader=jsonl"]
    source = dataset(tmp_path, whole("a.jsonl"), *overrides, "dataset.bad_rows=1").build()
    assert list(source.examples("train")) == []
    assert problem in source.notes()["train"]


def test_a_quote_is_marked_wherever_it_stands_as_whole_words(tmp_path: Path) -> None:
    row = {"text": "Art, an artist's art", "label": "x", "quotes": "art"}
    write(tmp_path / "a.jsonl", json.dumps(row))
    overrides = ["dataset/gold=quotes", "dataset/reader=jsonl"]
    (example,) = read(dataset(tmp_path, whole("a.jsonl"), *overrides))
    assert example.inputs["text"] == ["Art", ",", "an", "artist's", "art"]
    assert example.target is not None
    assert example.target.weights.tolist() == [[1, 0, 0, 0, 1]]


def test_rows_without_gold_stay_in(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label,rationale", "a b,x,0:1", "c d,y,")
    one, other = read(dataset(tmp_path, whole("a.csv"), "dataset/gold=spans"))
    assert one.target is not None
    assert other.target is None


def test_more_tags_than_words(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,tag", "a b,O O", "a b,O")
    source = dataset(tmp_path, whole("a.csv"), "dataset/answer=tags", "dataset.bad_rows=1").build()
    assert len(list(source.examples("train"))) == 1
    assert "1 tags for 2 words" in source.notes()["train"]


def rows_file(folder: Path, rows: int) -> None:
    write(folder / "a.csv", "text,label", *(f"text number {i},x" for i in range(rows)))


def test_shares_are_held_out_and_folds_cover_everything_once(tmp_path: Path) -> None:
    rows_file(tmp_path, 500)
    tests = []
    for fold in range(5):
        splits = "dataset.splits={train: a.csv, val: 0.1, test: 0.2}"
        source = dataset(tmp_path, splits, f"dataset.fold={fold}").build()
        parts = {
            s: {" ".join(e.inputs["text"]) for e in source.examples(s)}
            for s in ("train", "val", "test")
        }
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 500
        assert len(parts["test"]) == pytest.approx(100, abs=30)
        tests.append(parts["test"])
    assert len(set.union(*tests)) == sum(map(len, tests)) == 500


def test_the_same_text_never_stands_in_two_splits(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", *["one,x", "two,y", "three,x"] * 30)
    source = dataset(tmp_path, "dataset.splits={train: a.csv, val: 0.3, test: 0.3}").build()
    seen = [{e.inputs["text"][0] for e in source.examples(s)} for s in ("train", "val", "test")]
    assert sum(map(len, seen)) == 3


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        dataset(tmp_path, "dataset.splits={train: a.csv, val: 0.5, test: 0.5}")


def test_limit(tmp_path: Path) -> None:
    rows_file(tmp_path, 50)
    assert len(read(dataset(tmp_path, whole("a.csv"), "dataset.limit=7"))) == 7


def test_long_texts_are_cut_with_their_gold(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,tag,rationale", "a b c d e,A B C D E,1:2 3:5")
    overrides = ["dataset.words.longest=4", "dataset/gold=spans", "dataset/answer=tags"]
    (example,) = read(dataset(tmp_path, whole("a.csv"), *overrides))
    assert example.inputs["text"] == ["a", "b", "c", "d"]
    assert example.answer == ["A", "B", "C", "D"]
    assert example.target is not None
    assert example.target.weights.tolist() == [[0, 1, 0, 1]]


@pytest.mark.parametrize("packed", [False, True])
def test_texts_in_files_of_their_own(packed: bool, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", "one.txt,x", "two.txt,y")
    if packed:
        with zipfile.ZipFile(tmp_path / "docs.zip", "w") as archive:
            archive.writestr("inner/one.txt", "first text\nof two lines")
    else:
        (tmp_path / "docs").mkdir()
        write(tmp_path / "docs" / "one.txt", "first text", "of two lines")
    where = "docs.zip/inner" if packed else "docs"
    overrides = [f"dataset.documents={{text: {where}}}", "dataset.bad_rows=0.5"]
    source = dataset(tmp_path, whole("a.csv"), *overrides).build()
    (example,) = source.examples("train")
    assert example.inputs["text"] == ["first", "text", "of", "two", "lines"]
    assert "a.csv row 3: no document 'two.txt' in docs" in source.notes()["train"]


def test_contractions_are_words_and_quotes_are_not() -> None:
    found = WORD["punctuation"].findall(
        "'I won't, they're' DON\u2019T can't've l'homme n't O'Brien 5'"
    )
    joined = "' I won't , they're ' DON\u2019T can't've l' homme n't O' Brien 5 '"
    assert found == joined.split()


def test_an_elided_word_keeps_its_apostrophe() -> None:
    """French and Italian, as tokenizers of these languages write them; quotes stay apart."""
    assert WORD["punctuation"].findall("l' homme qu' il") == ["l'", "homme", "qu'", "il"]
    text = (
        "Aujourd'hui, l'homme qu\u2019il n'a (jusqu'ici) dell'arte: 'L'amour d'Anne'. Les rois' or"
    )
    joined = (
        "Aujourd'hui , l' homme qu\u2019 il n' a ( jusqu' ici ) dell' arte : "
        "' L' amour d' Anne ' . Les rois ' or"
    )
    assert WORD["punctuation"].findall(text) == joined.split()


def test_words(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", '"It\'s ÖL, ok",x')
    ways = {
        "spaces": ["It's", "ÖL,", "ok"],
        "punctuation": ["It's", "ÖL", ",", "ok"],
        "characters": list("It'sÖL,ok"),
    }
    for way, words in ways.items():
        (example,) = read(dataset(tmp_path, whole("a.csv"), f"dataset.words.split={way}"))
        assert example.inputs["text"] == words
    (example,) = read(dataset(tmp_path, whole("a.csv"), "dataset.words.lowercase=true"))
    assert example.inputs["text"] == ["it's", "öl", ",", "ok"]


def test_what_is_prepared_follows_content_and_settings_not_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.csv", "text,label", "ok,y", "no,x")
    given = dataset(tmp_path / "one", whole("a.csv"))
    before = fingerprint(given)
    (tmp_path / "one" / "a.csv").touch()
    assert fingerprint(given) == before
    write(tmp_path / "one" / "a.csv", "text,label", "ok,y", "no,z")
    assert fingerprint(given) != before
    other = dataset(tmp_path / "two", whole("a.csv"), "dataset.tokenizer.at_least=2")
    assert fingerprint(other) != fingerprint(dataset(tmp_path / "two", whole("a.csv")))


def test_labels_that_only_other_splits_have_are_wrong_answers_not_the_end(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label", "ok,y", "no,x")
    write(tmp_path / "b.csv", "text,label", "ok,new")
    splits = "dataset.splits={train: a.csv, val: a.csv, test: b.csv}"
    made = prepared(dataset(tmp_path, splits), tmp_path)
    (example,) = made.examples("test")
    assert made.codec.text(made.codec.encode(example, 0).answer.tolist()) == "new"


def test_tags_that_only_other_splits_have_keep_their_place(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,tag", "a b,O B-x")
    write(tmp_path / "b.csv", "text,tag", "a b c,O B-new O")
    splits = "dataset.splits={train: a.csv, val: a.csv, test: b.csv}"
    made = prepared(dataset(tmp_path, splits, "dataset/answer=tags"), tmp_path)
    (example,) = made.examples("test")
    assert made.codec.text(made.codec.encode(example, 0).answer.tolist()) == "O B-new O"


def test_rows_go_by_one_after_the_other(tmp_path: Path) -> None:
    """Eight times as many rows (some 1 MB of text) need no more memory on their way to disk."""
    long = " ".join(f"word{i}" for i in range(300))
    write(tmp_path / "a.tsv", "text\tlabel\tscores", *[f"{long}\tx\t{'1 ' * 300}"] * 320)
    write(tmp_path / "b.tsv", "text\tlabel\tscores", "a b\tx\t1 1")
    splits = "dataset.splits={train: a.tsv, val: b.tsv, test: b.tsv}"
    peaks = {}
    for limit in (40, 320):
        given = dataset(
            tmp_path, splits, "dataset/reader=tsv", "dataset/gold=scores", f"dataset.limit={limit}"
        )
        tracemalloc.start()
        try:
            assert prepared(given, tmp_path / str(limit)).meta["sizes"]["train"] == limit
            peaks[limit] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks[320] < peaks[40] + 3e5


def test_only_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    rows = ["about this,why ?,x", "about that,,y", ",what ?,x"]
    write(tmp_path / "a.csv", "text,asked,label", *rows)
    words = ["+dataset.inputs.question=asked", "dataset.bad_rows=0.4"]
    given = dataset(tmp_path, whole("a.csv"), *words, "dataset.optional=[question]")
    source = given.build()
    examples = list(source.examples("train"))
    assert [e.inputs["question"] for e in examples] == [["why", "?"], None]
    assert source.notes()["train"] == ("1 of 3 rows cannot be used (a.csv row 4: 'text' is empty)")
    required = dataset(tmp_path, whole("a.csv"), *words[:1], "dataset.bad_rows=0.7").build()
    assert len(list(required.examples("train"))) == 1
    assert "a.csv row 3: 'asked' is empty" in required.notes()["train"]
