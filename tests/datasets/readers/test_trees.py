"""Trees with a label at every phrase."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.datasets.readers.corpora import TreesReader, read_tree

TREE = "(3 (2 (2 A) (3 splash)) (4 (2 and\\/or) (1 greater)))"
LABELS = {"1": "bad", "2": None, "3": "good", "4": "good"}


def test_every_phrase_comes_with_its_words_the_whole_last() -> None:
    assert read_tree(TREE) == [
        ("2", ["A"]),
        ("3", ["splash"]),
        ("2", ["A", "splash"]),
        ("2", ["and/or"]),
        ("1", ["greater"]),
        ("4", ["and/or", "greater"]),
        ("3", ["A", "splash", "and/or", "greater"]),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("(3 (2 a) (2 b)", "1 brackets are not closed"),
        ("(3 a) b", "'b' stands behind the tree"),
        ("word", "'word' stands before the tree"),
        ("", "no tree"),
    ],
)
def test_what_is_no_tree_is_one_line(line: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        read_tree(line)
    assert str(error.value) == message


def test_rows_are_sentences_or_phrases_that_have_a_label(tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_text(f"{TREE}\n(4 (3 splash) (2 !))\n(9 x)\n(2 (\n")
    reader = TreesReader(phrases=["train"], labels=LABELS, phrase_labels={})
    sentences = list(reader.rows(tmp_path, "trees.txt", "dataset.splits.test"))
    assert [(" ".join(r.values["phrase"]), r.values["label"]) for r in sentences[:2]] == [
        ("A splash and/or greater", "good"),
        ("splash !", "good"),
    ]
    assert sentences[2].problem == "label '9'; known: 1, 2, 3, 4"
    assert sentences[3].place == "trees.txt row 4" and "not closed" in sentences[3].problem
    rows = list(reader.rows(tmp_path, "trees.txt", "dataset.splits.train"))
    phrases = [(" ".join(r.values["phrase"]), r.values["label"]) for r in rows if not r.problem]
    assert phrases == [
        ("splash", "good"),  # once, though two sentences have it
        ("greater", "bad"),
        ("and/or greater", "good"),
        ("A splash and/or greater", "good"),
        ("splash !", "good"),
    ]


def test_phrases_may_have_labels_that_sentences_lack(tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_text("(2 (2 a) (4 splash))\n(3 (2 a) (4 splash))\n")
    reader = TreesReader(phrases=["train"], labels=LABELS, phrase_labels={"2": "neither"})
    read = {
        split: [
            row.values["label"] for row in reader.rows(tmp_path, "trees.txt", f"splits.{split}")
        ]
        for split in ("train", "val")
    }
    assert read == {"train": ["neither", "good", "neither"], "val": ["good"]}
