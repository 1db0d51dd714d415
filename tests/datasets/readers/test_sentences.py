"""Stories, their questions, and texts whose sentences are attended to."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.data.batch import collate
from attnlab.data.inputs import Sentences
from attnlab.data.target import MapLayout, at_hops
from attnlab.datasets.targets import span_target
from attnlab.errors import ConfigError, UserError
from tests.datasets.readers.files import dataset, prepared, read, whole, write

STORY = [
    "1 Mary moved to the bathroom.",
    "2 John went to the hallway.",
    "3 Where is Mary? \tbathroom\t1",
    "4 Mary got the milk there.",
    "5 Where is the milk?\tbathroom\t4 1",
    "1 Daniel went home.",
    "2 Where is Daniel? \thome\t1",
]
BABI = [
    "dataset/reader=babi",
    "dataset/gold=facts",
    "dataset.gold.column=supporting",
    "dataset.inputs.text=story",
    "+dataset.inputs.question=question",
    "dataset.sentences=[text]",
    "dataset.answer.column=answer",
]


def test_a_question_knows_the_story_so_far_and_what_leads_to_the_answer(tmp_path: Path) -> None:
    write(tmp_path / "qa.txt", *STORY)
    first, second, third = read(dataset(tmp_path, whole("qa.txt"), *BABI))
    assert first.inputs["text"] == [
        ["Mary", "moved", "to", "the", "bathroom", "."],
        ["John", "went", "to", "the", "hallway", "."],
    ]
    assert first.inputs["question"] == ["Where", "is", "Mary", "?"]
    assert [e.answer for e in (first, second, third)] == ["bathroom", "bathroom", "home"]
    assert second.target is not None
    assert second.target.weights.tolist() == [[0, 0, 1], [1, 0, 0]], "a row each, in this order"
    assert third.inputs["text"] == [["Daniel", "went", "home", "."]], "line 1 begins a new story"
    assert second.meta == {"row": "qa.txt row 5"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("4 Where is Mary?\tbathroom\t7", "supporting line '7' is no sentence of the story so far"),
        ("Where is Mary?", "no line such as '3 Mary went home.'"),
        ("4 Where is Mary?\t\t1", "'answer' is empty"),
    ],
)
def test_lines_that_cannot_be_used_are_named(line: str, problem: str, tmp_path: Path) -> None:
    write(tmp_path / "qa.txt", *STORY[:3], line)
    with pytest.raises(UserError) as raised:
        read(dataset(tmp_path, whole("qa.txt"), *BABI))
    assert str(raised.value) == (
        f"dataset.splits.train: 1 of 2 rows cannot be used (qa.txt row 4: {problem}); "
        "dataset.bad_rows allows 1.00%; to leave them out: dataset.bad_rows=0.5"
    )


def test_files_within_an_archive_are_read_as_those_beside_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tasks.zip", "w") as archive:
        archive.writestr("en/qa1_a_train.txt", "\n".join(STORY))
        archive.writestr("en/qa2_b_train.txt", "1 no\n")
    given = dataset(tmp_path / "tasks.zip" / "en", whole("qa1_*_train.txt"), *BABI)
    assert len(read(given)) == 3
    other = dataset(tmp_path, whole("tasks.zip/en/qa1_a_train.txt"), *BABI)
    assert [e.inputs for e in read(other)] == [e.inputs for e in read(given)]
    assert given.build().contents() == other.build().contents()
    with pytest.raises(UserError) as raised:
        read(dataset(tmp_path, whole("tasks.zip/en/qa1_a_trian.txt"), *BABI))
    assert str(raised.value) == (
        f"dataset.splits.train: no file 'en/qa1_a_trian.txt' in {tmp_path}/tasks.zip; "
        "did you mean 'en/qa1_a_train.txt'? allowed: en/qa1_a_train.txt, en/qa2_b_train.txt"
    )


def test_gold_over_words_becomes_gold_over_the_sentences_that_hold_them(tmp_path: Path) -> None:
    row = '{"text": "Good start.\\n\\nThen dull . Very dull\\nthe end", "label": "bad", '
    write(tmp_path / "rows.jsonl", row + '"rationale": [[5, 7]]}')
    spans = ["dataset/reader=jsonl", "dataset/gold=spans", "dataset.sentences=[text]"]
    (example,) = read(dataset(tmp_path, whole("rows.jsonl"), *spans))
    assert example.inputs["text"] == [
        ["Good", "start", "."],
        ["Then", "dull", ".", "Very", "dull"],
        ["the", "end"],
    ]
    assert example.target is not None
    assert example.target.weights.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("kind", "cell", "problem"),
    [
        ("marks", "[0, 1, 0]", "3 marks for 2 sentences"),
        ("facts", "[2]", "'gold' names number 2 of 2 sentences"),
        ("facts", "[]", "'gold' names nothing"),
        ("facts", "[0.5]", "'gold' is not a list of whole numbers"),
    ],
)
def test_gold_counts_sentences(kind: str, cell: str, problem: str, tmp_path: Path) -> None:
    row = '{"text": ["one two", "three"], "label": "x", "gold": ' + cell + "}"
    write(tmp_path / "rows.jsonl", row)
    gold = [f"dataset/gold={kind}", "dataset.gold.column=gold", "dataset.sentences=[text]"]
    with pytest.raises(UserError, match="1 of 1 rows") as raised:
        read(dataset(tmp_path, whole("rows.jsonl"), "dataset/reader=jsonl", *gold))
    assert f"(rows.jsonl row 1: {problem})" in str(raised.value)


def test_sentences_of_an_input_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no input 'story'; there are: text"):
        dataset(tmp_path, "dataset.sentences=[story]")


def test_sentences_are_kept_encoded_and_padded_both_ways(tmp_path: Path) -> None:
    write(tmp_path / "qa.txt", *STORY)
    made = prepared(dataset(tmp_path, whole("qa.txt"), *BABI), tmp_path)
    found = made.codec.inputs["text"]
    assert isinstance(found, Sentences)
    batch = collate([made.codec.encode(e, i) for i, e in enumerate(made.examples("train"))])
    story = batch.inputs["text"]
    assert story.values.shape == (3, 3, 6)
    assert story.mask.tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    words = [found.vocabulary.decode(line) for line in story.values[2].tolist()]
    assert words == [["Daniel", "went", "home", "."], [], []]
    assert (story.values[2, 0, 4:] == 0).all()


def test_rows_of_gold_are_spread_over_looks() -> None:
    def rows(facts: list[int], hops: int) -> list[list[int]]:
        target = span_target([[(fact, fact + 1)] for fact in facts], 4)
        return [np.flatnonzero(row).tolist() for row in at_hops(target, hops).weights]

    assert rows([2, 0], 2) == [[2], [0]]
    assert rows([2, 0], 3) == [[2], [0], [0]], "the last look stays where it was"
    assert rows([3, 0, 1], 2) == [[3], [0, 1]], "the last look takes in the rest"
    assert rows([3, 0], 1) == [[0, 3]]
    assert rows([1], 3) == [[1], [1], [1]]


def test_a_label_has_as_many_rows_as_the_model_looks(tmp_path: Path) -> None:
    write(tmp_path / "qa.txt", *STORY)
    made = prepared(dataset(tmp_path, whole("qa.txt"), *BABI), tmp_path)
    for hops in (1, 2):
        codec = made.codec.with_layout(MapLayout(hops=hops))
        batch = collate([codec.encode(e, i) for i, e in enumerate(made.examples("train"))])
        assert batch.target.weights.shape == (3, hops, 3)
        torch.testing.assert_close(batch.target.distribution().sum(-1), torch.ones(3, hops))
