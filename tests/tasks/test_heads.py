"""Heads see their input through attention, and answer in the form that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.attention.taps import Tap, sites
from attnlab.config.compose import load
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.errors import ConfigError, UserError
from attnlab.tasks.locate.head import centres
from tests.models.building import SIZE, built, pictures, small_config, texts


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def labelled(answers: list[object]) -> list[Example]:
    return [replace(e, answer=a) for e, a in zip(texts([1, 1], [4, 6]), answers, strict=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize("embedder", ["convolution", "patches"])
def test_map_of_a_picture_has_the_cells_that_gold_is_regrouped_to(embedder: str) -> None:
    config = small_config("task=classify", "model=convolutional", f"model/image={embedder}")
    model, batch, _ = built(config, pictures(["1", "2"]))
    with Tap(model, "pooling") as tap:
        scores = model(batch)
    assert scores.shape == (2, 1, 2)
    assert tap.weights().shape[-1] == 36 == batch.target.weights.shape[-1]
    assert model.answer(batch).shape == (2, 1)


def test_a_patch_with_hidden_layers_is_a_fully_connected_network() -> None:
    words = ["model/image=patches", f"model.image.size={SIZE}", "model.image.hidden=[12,8]"]
    config = small_config("task=classify", "model=convolutional", "attention=uniform", *words)
    model, batch, _ = built(config, pictures(["1", "2"]))
    (embedder,) = model.reader.embedders  # type: ignore[union-attr]
    pixels = batch.inputs["image"].values
    known = embedder.linear(pixels)
    for layer in embedder.further:
        known = layer(known.relu())
    assert [layer.out_channels for layer in embedder.further] == [8, 16]
    assert known.shape == (2, 16, 1, 1)
    expected = known.flatten(1) + embedder.rows.flatten() + embedder.columns.flatten()
    seen = model.reader(batch).memory  # type: ignore[operator]
    torch.testing.assert_close(seen.values[:, 0], expected)
    assert seen.grid == (1, 1)


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
    assert tap.weights().shape[-1] == 36, "only the picture is attended to"
    swapped = replace(
        batch,
        inputs=batch.inputs
        | {"question": type(batch.answer)(*(t.flip(0) for t in batch.inputs["question"]))},
    )
    assert not torch.allclose(scores, model(swapped))


GOLD_BOXES = [boxes([1, 2, 9, 10, 3], [12, 12, 20, 20, 0]), boxes([5, 5, 13, 13, 1])]
GRID = ("task.queries=cells", "task.rounds=1")
ALONE = ("attention=window", "attention.structure.left=0", "attention.structure.right=0")


@pytest.mark.parametrize(("settings", "queries"), [((), 12), (GRID, 36)])
def test_locator_answers_with_a_box_for_each_query(settings: tuple[str, ...], queries: int) -> None:
    model, batch, codec = built(small_config("task=locate", *settings), pictures(GOLD_BOXES))
    scores, said = model(batch), model.answer(batch)
    assert scores.shape == (2, queries, 4 + 4 + 1)
    assert said.shape == (2, queries, 6)
    assert (said[..., 2:4] > said[..., :2]).all()
    assert (said[..., 4] >= 0).all() and (said[..., 4] <= 3).all()
    chances = scores[..., 4:].softmax(-1)
    torch.testing.assert_close(said[..., 5], chances[..., :-1].amax(-1))
    assert codec.text([*GOLD_BOXES[0].tolist(), [0, 0, 1, 1, 2, 0.4]]) == "3@1,2 0@12,12"


def test_queries_know_of_one_another_from_the_second_look_on() -> None:
    config = small_config("task=locate", "task.rounds=2", "model=convolutional")
    model, batch, _ = built(config, pictures(GOLD_BOXES))
    assert list(sites(model)) == ["decoder.cross.0", "decoder.self.1", "decoder.cross.1"]
    alone, _, _ = built(small_config("task=locate", "task.rounds=1"), pictures(GOLD_BOXES))
    for each, moves in ((model, True), (alone, False)):
        before = each(batch)[:, 1:]
        with torch.no_grad():
            each.queries.learned[0] += 1  # type: ignore[union-attr]
        assert torch.allclose(before, each(batch)[:, 1:]) is not moves


def test_grid_of_answers_without_attention_sees_each_cell_by_itself() -> None:
    config = small_config("task=locate", "model=convolutional", *GRID, *ALONE)
    model, batch, _ = built(config, pictures(GOLD_BOXES))
    with Tap(model, "decoder.cross.0") as tap:
        model(batch)
    assert torch.equal(tap.weights().mean(1), torch.eye(36).expand(2, -1, -1))


def test_fewer_queries_than_boxes_are_refused() -> None:
    with pytest.raises(UserError) as refused:
        built(small_config("task=locate", "task.queries=1"), pictures(GOLD_BOXES))
    assert str(refused.value) == (
        "task.queries: 1 are fewer than the 2 boxes that a picture of dataset 'canvas' has; "
        "try: task.queries=4"
    )


def test_centres_of_cells() -> None:
    middles = centres((2, 4), torch.zeros(1))
    assert middles.tolist()[:2] == [[0.125, 0.25], [0.375, 0.25]]
    assert middles.tolist()[-1] == [0.875, 0.75]


@pytest.mark.parametrize("embedder", ["convolution", "pyramid", "patches"])
def test_segmenter_answers_for_every_pixel(embedder: str) -> None:
    gold = [np.zeros((SIZE, SIZE), np.float32), np.full((SIZE, SIZE), 2, np.float32)]
    config = small_config("task=segment", "model=convolutional", f"model/image={embedder}")
    model, batch, _ = built(config, pictures(gold))
    assert model(batch).shape == (2, 3, SIZE, SIZE)
    assert model.answer(batch).shape == batch.answer.values.shape


@pytest.mark.parametrize("gated", [True, False])
def test_what_is_seen_in_fine_places_passes_as_far_as_its_gate_is_open(gated: bool) -> None:
    gold = [np.zeros((SIZE, SIZE), np.float32), np.full((SIZE, SIZE), 2, np.float32)]
    config = small_config("task=segment", "model=convolutional", f"task.gated={gated}")
    model, batch, _ = built(config, pictures(gold))
    before = model(batch)
    for step in model.steps:  # type: ignore[union-attr]
        assert (step.gate is not None) is gated
        if gated:
            with torch.no_grad():
                step.gate.score.weight.zero_()
                step.gate.score.bias.fill_(-1e4)  # shut
    shut = model(batch)
    assert torch.allclose(before, shut) is not gated
    stem = next(iter(model.stem.parameters()))  # type: ignore[union-attr]
    shut.sum().backward()
    assert bool(stem.grad.any()) is not gated, "behind a shut gate nothing is seen of the pixels"


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
        Example(str(i), {"items": ["x", "y", "z"]}, answer, attended="items")
        for i, answer in enumerate(["y", "w"])
    ]
    model, batch, codec = built(small_config("task=rank"), examples)
    scores, said = model(batch)[:, 0], model.answer(batch)
    assert scores.shape == (2, len(codec.answers.vocabulary))  # type: ignore[attr-defined]
    assert said[:, 0].tolist() == scores.argmax(-1).tolist()
    assert codec.text(batch.answer.values[1].tolist()) == "w"


@pytest.mark.parametrize(
    ("task", "dataset", "meant"),
    [
        ("generate", "reviews", "classify"),
        ("classify", "dates", "generate or retrieve"),
        ("tag", "dates", "generate or retrieve"),
        ("rank", "reviews", "classify"),
        ("segment", "canvas", "classify"),
    ],
)
def test_task_that_does_not_go_with_the_answers_is_refused(
    task: str, dataset: str, meant: str
) -> None:
    """Before anything is prepared."""
    with pytest.raises(ConfigError, match=f"does not go with .*did you mean '{meant}'"):
        load(["~experiment", f"task={task}", f"dataset={dataset}"])


def test_places_in_a_text_are_refused() -> None:
    with pytest.raises(UserError, match="needs a picture; 'text' is a text"):
        built(small_config("task=locate"), labelled([boxes([0, 0, 1, 1, 0]), boxes()]))


def test_labels_said_as_one_have_their_chances_together() -> None:
    """What is never said shares nothing; the loss still sees every label."""
    examples = labelled(["bad", "worst"]) + labelled(["good", "neither"])
    words = "task.merge_labels={worst:bad,neither:null}"
    model, batch, codec = built(small_config("task=classify", words), examples)
    scores, choices = model(batch)[:, 0], model.choices(batch)  # type: ignore[operator]
    bad, good, neither, worst = (
        codec.answers.labels.index(n) for n in ("bad", "good", "neither", "worst")
    )  # type: ignore[attr-defined]
    chances = scores.softmax(-1)
    together = torch.stack([chances[:, bad] + chances[:, worst], chances[:, good]], -1)
    expected = together / together.sum(-1, keepdim=True)
    torch.testing.assert_close(choices.softmax(-1)[:, [bad, good]], expected)
    assert (choices[:, [neither, worst]] == -torch.inf).all()
    assert set(model.answer(batch).flatten().tolist()) <= {bad, good}  # type: ignore[operator]
    loss = torch.nn.functional.cross_entropy(scores, batch.answer.values[:, 0])
    loss.backward()
    choices = model.choices(batch)  # type: ignore[operator]
    choices.softmax(-1)[:, bad].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
