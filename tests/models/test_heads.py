"""Heads see their input through attention, and answer in the form that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.attention.probes import Tap
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.errors import UserError
from attnlab.models.regions import centres
from tests.models.building import SIZE, built, pictures, small_config, texts


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def labelled(answers: list[object]) -> list[Example]:
    return [replace(e, answer=a) for e, a in zip(texts([1, 1], [4, 6]), answers, strict=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize("front", ["convolution", "patches"])
def test_map_of_a_picture_has_the_cells_that_gold_is_regrouped_to(front: str) -> None:
    config = small_config("task=classify", "model=convolutional", f"model/image={front}")
    model, batch, _ = built(config, pictures(["1", "2"]))
    with Tap(model, "pooling") as tap:
        scores = model(batch)
    assert scores.shape == (2, 1, 2)
    assert tap.weights().shape[-1] == 36 == batch.target.weights.shape[-1]
    assert model.answer(batch).shape == (2, 1)


def test_spatial_attention_gets_the_grid() -> None:
    """CBAM's score is a convolution over rows and columns: it needs to know which they are."""
    config = small_config("task=classify", "model=convolutional", "attention=cbam")
    model, batch, _ = built(config, pictures(["1", "2"]))
    with Tap(model, "pooling") as tap:
        model(batch)
    assert tap.calls[0].mask.grid == (6, 6)


def test_question_is_what_asks() -> None:
    words = [["which", "one", "?"], ["which", "other", "one", "?"]]
    config = small_config("task=classify", "model=transformer", "attention=multihead")
    examples = [
        replace(e, inputs=e.inputs | {"question": w})
        for e, w in zip(pictures(["1", "2"]), words, strict=True)
    ]
    model, batch, _ = built(config, examples)
    with Tap(model, "pooling") as tap:
        scores = model(batch)
    assert tap.weights().shape[-1] == 36, "only the picture is looked at"
    swapped = replace(
        batch,
        inputs=batch.inputs
        | {"question": type(batch.answer)(*(t.flip(0) for t in batch.inputs["question"]))},
    )
    assert not torch.allclose(scores, model(swapped))


def test_locator_answers_with_boxes_within_the_picture() -> None:
    gold = [boxes([1, 2, 9, 10, 3], [12, 12, 20, 20, 0]), boxes([5, 5, 13, 13, 1])]
    model, batch, codec = built(small_config("task=locate"), pictures(gold))
    scores, said = model(batch), model.answer(batch)
    assert scores.shape == (2, 2, 4 + 4 + 1)
    assert said.shape == (2, 2, 6)
    assert (said[..., 2:4] > said[..., :2]).all()
    assert (said[..., 4] >= -1).all() and (said[..., 4] <= 3).all()
    assert codec.text(gold[0].tolist()) == "3@1,2 0@12,12"


def test_centres_of_cells() -> None:
    middles = centres((2, 4), torch.zeros(1))
    assert middles.tolist()[:2] == [[0.125, 0.25], [0.375, 0.25]]
    assert middles.tolist()[-1] == [0.875, 0.75]


def test_segmenter_answers_for_every_pixel() -> None:
    gold = [np.zeros((SIZE, SIZE), np.float32), np.full((SIZE, SIZE), 2, np.float32)]
    config = small_config("task=segment", "model=convolutional")
    model, batch, _ = built(config, pictures(gold))
    assert model(batch).shape == (2, 3, SIZE, SIZE)
    assert model.answer(batch).shape == batch.answer.values.shape


def test_attender_answers_with_its_map() -> None:
    target = AttentionTarget(
        np.ones((1, SIZE * SIZE), np.float32), np.ones(1, bool), np.ones(SIZE * SIZE, bool), "soft"
    )
    examples = [replace(e, target=target) for e in pictures([None, None])]
    config = small_config("task=attend", "model=convolutional")
    model, batch, _ = built(config, examples)
    with Tap(model, "pooling") as tap:
        scores = model(batch)
    torch.testing.assert_close(scores, tap.log_weights())
    torch.testing.assert_close(model.answer(batch).sum(-1), torch.ones(2, 1))


def test_tagger_answers_for_each_unit() -> None:
    examples = texts([4, 6], [4, 6])
    model, batch, _ = built(small_config("task=tag"), examples)
    assert model(batch).shape[:2] == (2, 6)
    said = model.answer(batch)
    assert (said[0, 4:] == 0).all()


def test_ranker_names_items_best_first() -> None:
    examples = [
        Example(str(i), {"items": ["x", "y", "z"]}, answer, looks_at="items")
        for i, answer in enumerate(["y", "w"])
    ]
    model, batch, codec = built(small_config("task=rank"), examples)
    scores, said = model(batch)[:, 0], model.answer(batch)
    assert scores.shape == (2, len(codec.answers.vocabulary))  # type: ignore[attr-defined]
    assert said[:, 0].tolist() == scores.argmax(-1).tolist()
    assert codec.text(batch.answer.values[1].tolist()) == "w"


@pytest.mark.parametrize(
    ("task", "answers", "meant"),
    [("generate", ["x", "y"], "classify"), ("classify", [["x"], ["y"]], "generate"),
     ("rank", ["x", "y"], "classify"), ("segment", [None, None], "attend")],
)  # fmt: skip
def test_task_that_does_not_go_with_the_answers_is_refused(
    task: str, answers: list[object], meant: str
) -> None:
    with pytest.raises(UserError, match=f"did you mean '{meant}"):
        built(small_config(f"task={task}"), labelled(answers))


def test_places_in_a_text_are_refused() -> None:
    with pytest.raises(UserError, match="looks at a picture; 'text' is a text"):
        built(small_config("task=locate"), labelled([boxes([0, 0, 1, 1, 0]), boxes()]))
