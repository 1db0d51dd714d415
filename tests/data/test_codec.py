"""From examples to tensors and back, for every form of input and answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.data.batch import collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.target import MapLayout
from attnlab.data.vocabulary import EOS
from attnlab.errors import UserError
from tests.forms import dataset_of, fitted

DATASETS = ["dates", "reviews", "canvas", "tones", "questions", "baskets", "recall"]
VIEWS = ["classify", "locate", "segment", "attend", "caption", "point"]
ALL = [[f"dataset={name}"] for name in DATASETS] + [
    ["dataset=canvas", f"dataset.task_view={view}"] for view in VIEWS[1:]
]


def examples_of(overrides: list[str], count: int = 200) -> list[Example]:
    dataset = dataset_of(*overrides, f"dataset.train={count}")
    return list(dataset.build().examples("train"))


@pytest.mark.parametrize("overrides", ALL, ids="-".join)
def test_saved_and_loaded_says_the_same(overrides: list[str], tmp_path: Path) -> None:
    examples = examples_of(overrides)
    codec = fitted(examples)
    codec.save(tmp_path)
    again = Codec.load(tmp_path)
    assert again.form == codec.form
    for i, example in enumerate(examples[:5]):
        one, other = codec.encode(example, i), again.encode(example, i)
        assert torch.equal(one.answer, other.answer)
        assert (one.queries, one.keys) == (other.queries, other.keys)
        for name, tensor in one.inputs.items():
            assert torch.equal(tensor, other.inputs[name])


@pytest.mark.parametrize("overrides", ALL, ids="-".join)
def test_gold_stays_gold_at_every_grain(overrides: list[str]) -> None:
    """Marks stay marks, mass stays mass; batches have as many keys as gold counts."""
    codec, examples = None, examples_of(overrides)
    for layout in (MapLayout(), MapLayout((4, 4), 2), MapLayout((5, 5), 4)):
        codec = fitted(examples).with_layout(layout)
        items = [codec.encode(example, i) for i, example in enumerate(examples[:8])]
        batch = collate(items)
        assert batch.target.weights.shape[2] == max(item.keys for item in items)
        for row, (item, example) in enumerate(zip(items, examples, strict=False)):
            assert item.target is not None and example.target is not None
            assert item.target.weights.shape[1] == item.keys
            annotated = example.target.weights.sum(1) > 0
            kept = batch.target.weights[row].sum(-1)[: len(annotated)] > 0
            assert kept.tolist()[: item.queries] == annotated.tolist()[: item.queries]
            if example.target.kind == "soft":
                before, after = example.target.weights.sum(), item.target.weights.sum()
                assert after == pytest.approx(before, rel=1e-4)


def test_answers_read_as_they_were_given() -> None:
    codec = fitted(examples_of(["dataset=dates"]))
    example = examples_of(["dataset=dates"])[3]
    item = codec.encode(example, 0)
    assert item.answer[-1] == EOS
    assert codec.text(item.answer.tolist()) == "".join(example.answer)  # type: ignore[arg-type]


def test_keys_without_gold_are_still_counted() -> None:
    examples = examples_of(["dataset=tones"])
    codec = fitted(examples).with_layout(MapLayout(stride=2))
    with_gold = codec.encode(examples[0], 0)
    without = codec.encode(replace(examples[0], target=None), 0)
    assert (without.queries, without.keys) == (with_gold.queries, with_gold.keys)


def test_more_boxes_than_training_has_keep_their_answer_and_lose_their_map() -> None:
    picture = np.zeros((1, 16, 16), np.float32)
    one = Example("a", {"image": picture}, np.zeros((1, 5), np.float32), attended="image")
    codec = fitted([one])
    item = codec.encode(replace(one, answer=np.zeros((3, 5), np.float32)), 0)
    assert len(item.answer) == 3
    assert item.queries == 1


STARS = {"*": "**", "***": None, "*****": "****"}


def starred(merge_labels: dict[str, str | None]) -> Codec:
    """Reviews of one star to five."""
    examples = [Example(str(n), {"text": ["a"]}, "*" * n) for n in range(1, 6)]
    codec = fitted(examples)
    return replace(codec, answers=codec.answers.merging(merge_labels))


def test_labels_may_be_said_as_others() -> None:
    codec = starred(STARS)
    assert [codec.text([label]) for label in range(5)] == ["**", "**", "***", "****", "****"]
    assert codec.answers.merged == [1, 1, None, 3, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("merge_labels", "message"),
    [
        (
            {"*": "****+"},
            "task.merge_labels: the data have no label '****+'; did you mean '****'? "
            "allowed: *, **, ***, ****, *****",
        ),
        (
            {"*": "**", "**": "***"},
            "task.merge_labels.*: '**' is not predicted itself; try: task.merge_labels.*=***",
        ),
    ],
)
def test_labels_that_cannot_be_said_are_told(
    merge_labels: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UserError) as error:
        starred(merge_labels)
    assert str(error.value) == message
