"""Every dataset declares the form of its answers, and prepared data keep to it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from attnlab.config.dataset import Dataset
from attnlab.config.section import register
from attnlab.data.answer import answer_form
from attnlab.data.example import Example, Source
from attnlab.data.prepared import prepare
from attnlab.errors import UserError
from tests.datasets.generators.conftest import dataset_of
from tests.datasets.generators.test_generator import NAMES

GENERATED = ["support", *NAMES]


@pytest.mark.parametrize("name", GENERATED)
def test_generators_yield_what_they_declare(name: str) -> None:
    dataset = dataset_of(name, train=2)
    views = ["classify", "locate", "segment", "attend", "caption", "point"]
    for view in views if name == "canvas" else [None]:
        chosen = dataset if view is None else dataset_of(name, train=2, task_view=view)
        for example in chosen.build().examples("train"):
            assert answer_form(chosen.answer_form).accepts(example.answer)


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("units", ["a"], "a"),
        ("label", "a", ["a"]),
        ("item", "a", ["a"]),
        ("position", 1, 1.0),
        ("boxes", np.zeros((2, 5)), np.zeros((2, 4))),
        ("pixels", np.zeros((2, 5)), np.zeros(2)),
        ("numbers", 1.5, "1.5"),
        ("numbers", [1.5, 2], [float("nan")]),
        ("nothing", None, ""),
    ],
)
def test_forms(form, right, wrong) -> None:
    assert answer_form(form).accepts(right)
    assert not answer_form(form).accepts(wrong)


BASE = {
    "name": "x",
    "supervision": 1.0,
    "targets": "gold",
    "missing": {},
    "annotations": None,
    "augment": {},
}


def test_what_is_not_of_the_declared_form_ends_in_one_line(tmp_path: Path) -> None:
    @register("dataset", "mislabelled")
    class Mislabelled(Source):
        answer_form: ClassVar = "label"

        def examples(self, split):
            yield Example(f"{split}-0", {"text": ["a"]}, answer=["a", "label"])

    dataset = Dataset.model_validate(BASE | {"kind": "mislabelled"})
    message = r"'mislabelled' declares answers of form 'label', but that of train-0 is \['a'"
    with pytest.raises(UserError, match=message):
        prepare(dataset, tmp_path / "prepared")


def test_a_class_without_a_form_is_told_what_to_add() -> None:
    @register("dataset", "formless")
    class Formless(Source):
        def examples(self, split):
            yield from ()

    dataset = Dataset.model_validate(BASE | {"kind": "formless"})
    with pytest.raises(UserError, match="Formless has no answer_form; allowed: "):
        _ = dataset.answer_form
    (mistake,) = dataset.mistakes(None)
    assert mistake.where == "dataset.kind"
