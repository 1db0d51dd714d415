"""Pictures of examples: one for every kind of input, with the target in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from attnlab.config.compose import compose, resolve
from attnlab.config.dataset import Dataset
from attnlab.config.schema import Config  # noqa: F401 - opens the choices of every slot
from attnlab.data.example import Example
from attnlab.report.example_pictures import first_drawable, main, save_picture


def example_of(*overrides: str) -> Example:
    dataset = Dataset.model_validate(resolve(compose(overrides))["dataset"])
    return first_drawable(dataset.build().examples("train"))


def without_marks(example: Example) -> Example:
    assert example.target is not None
    bare = replace(example.target, weights=np.zeros_like(example.target.weights))
    return replace(example, target=bare)


VIEWS = [["dataset=canvas", f"dataset.task_view={v}"] for v in ("locate", "segment", "attend")]
OTHERS = ["baskets", "canvas", "dates", "questions", "recall", "reviews", "tones"]


@pytest.mark.parametrize("overrides", [*([f"dataset={name}"] for name in OTHERS), *VIEWS])
def test_the_target_is_in_the_picture(tmp_path: Path, overrides: list[str]):
    example = example_of(*overrides)
    for name, shown in (("with", example), ("bare", without_marks(example))):
        save_picture(shown, tmp_path / f"{name}.png")
    marked, bare = imread(tmp_path / "with.png"), imread(tmp_path / "bare.png")
    changed = (marked != bare).any(axis=2).mean() if marked.shape == bare.shape else 0
    assert 0.0003 < changed < 0.5


def test_what_the_font_lacks_is_passed_over():
    example = example_of("dataset=dates", "dataset.locales=[ja,de]", "dataset.styles=[full]")
    assert example.meta["locale"] == "de"


def test_the_command_writes_a_file(tmp_path: Path):
    main([str(tmp_path / "new" / "picture.png"), "dataset=reviews", "dataset.negation=1"])
    assert imread(tmp_path / "new" / "picture.png").shape[2] == 4
