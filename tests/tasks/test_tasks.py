"""Losses and figures of each form of answer, against what can be computed without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.data.tokenizers import Words
from attnlab.data.vocabulary import EOS, SPECIAL, UNKNOWN
from attnlab.errors import UserError
from attnlab.tasks.attend.task import Attend
from attnlab.tasks.classify.task import Classify
from attnlab.tasks.generate.task import Generate
from attnlab.tasks.locate.task import Locate
from attnlab.tasks.rank.task import Rank
from attnlab.tasks.segment.task import Segment
from attnlab.tasks.tag.task import Tag
from attnlab.tasks.task import Task
from tests.forms import fitted

SIZE = 16
PICTURE = np.zeros((1, SIZE, SIZE), np.float32)
SHARED: dict[str, Any] = {"map": "pooling", "label_smoothing": 0.0}


def batched(examples: list[Example]) -> tuple[Codec, Batch]:
    codec = fitted(examples)
    return codec, collate([codec.encode(example, i) for i, example in enumerate(examples)])


def texts(answers: list[Any]) -> list[Example]:
    return [Example(str(i), {"text": ["a", "b", "c"]}, answer) for i, answer in enumerate(answers)]


def pictures(answers: list[Any]) -> list[Example]:
    return [Example(str(i), {"image": PICTURE}, a, attended="image") for i, a in enumerate(answers)]


def figures(task: Task, batch: Batch, scores: torch.Tensor, answers: torch.Tensor) -> dict:
    metrics = task.metrics()
    task.update_metrics(metrics, batch, scores, answers)
    return {name: value for metric in metrics for name, value in metric.compute().items()}


def generate(codec: Codec) -> Generate:
    settings: dict = {"max_length": 5, "ctc": 0.0} | SHARED
    unset = dict.fromkeys(("figures", "decoding", "eviction", "scores_at_once"))
    return Generate(codec, **settings, **unset)


def test_loss_is_the_mean_over_real_places() -> None:
    codec, batch = batched(texts([["x", "y"], ["y"]]))
    task = generate(codec)
    scores = torch.randn(2, 3, 6)
    gold = batch.answer.values
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]  # the end marks among them
    expected = np.mean([float(F.cross_entropy(scores[p], gold[p])) for p in places])
    assert float(task.loss(scores, batch)) == pytest.approx(expected, rel=1e-5)
    assert task.losses(scores, batch)[1].tolist() == [3, 2]


def test_generated_words_and_characters_have_their_own_figures() -> None:
    codec, batch = batched(texts([["x", "y"], ["y"]]))
    characters = generate(codec)
    found = figures(characters, batch, torch.zeros(1), batch.answer.values)
    assert found["exact_match"] == 1 and found["character_error"] == 0
    codec, batch = batched(texts([["good", "day", "to", "you"], ["bye", "now", "my", "dear"]]))
    words = generate(codec)
    assert next(iter(figures(words, batch, torch.zeros(1), batch.answer.values))) == "bleu"


def test_the_same_label_every_time_is_a_control() -> None:
    codec, batch = batched(texts(["x", "y", "y"]))
    task = Classify(codec, hops=1, merge_labels=None, class_weights="none", **SHARED)
    examples = texts(["x", "y", "y"])
    assert task.controls(batch, torch.zeros(0), examples) == {}
    task.fit(examples)
    found = task.controls(batch, torch.zeros(0), examples)["majority"]
    assert figures(task, batch, *found)["accuracy"] == pytest.approx(2 / 3)


def test_labels_said_as_one_are_counted_together() -> None:
    examples = texts(["good", "fine", "bad", "bad", "so"] + ["so"] * 5)
    codec, batch = batched(examples)
    merged = replace(codec, answers=codec.answers.merging({"fine": "good", "so": None}))
    task = Classify(merged, hops=1, merge_labels=None, class_weights="none", **SHARED)
    task.fit(texts(["good", "fine", "fine", "bad", "bad", *["so"] * 9]))
    _, answers = task.controls(batch, torch.zeros(0), examples)["majority"]
    assert {codec.text(answer) for answer in answers.tolist()} == {"good"}


def test_the_usual_tag_of_each_word_is_a_control() -> None:
    words = [["to", "Rome"], ["to", "Paris"], ["Rome", "is"], ["Rome", "to"]]
    tags = [["O", "B-X"], ["O", "B-X"], ["B-X", "O"], ["B-Y", "O"]]
    known = [
        Example(str(i), {"text": w}, t) for i, (w, t) in enumerate(zip(words, tags, strict=True))
    ]
    codec, batch = batched(known)
    task = Tag(codec, crf=False, **SHARED)
    task.fit(known)
    _, answers = task.controls(batch, torch.zeros(0), known)["usual_tag"]
    assert [task.tags.decode(row) for row in answers.tolist()] == [*tags[:3], ["B-X", "O"]]
    assert task.usual is not None
    assert task.tags.decode([int(task.usual[UNKNOWN])]) == ["O"], "what most words have"


def test_controls_of_tags_answer_for_the_last_word_and_for_words_told_by_their_letters() -> None:
    words = [["to", "Rome"], ["from", "Paris"], ["to", "Oslo"]] * 4
    tags = [["O", "B-X"], ["O", "B-Y"], ["O", "B-X"]] * 4
    known = [
        Example(str(i), {"text": w}, t) for i, (w, t) in enumerate(zip(words, tags, strict=True))
    ]
    fitter = Words(size=None, at_least=1, digits=True, letters=True)
    codec = Codec.fit(known, "units", {"text": fitter.fit(words)})
    task = Tag(codec, crf=False, **SHARED)
    task.fit(known)
    unseen = [Example("new", {"text": ["from", "Lima"]}, ["O", "B-Y"])]
    examples = [*known[:3], *unseen]
    batch = collate([codec.encode(example, i) for i, example in enumerate(examples)])
    made = task.controls(batch, torch.zeros(0), examples)
    usual, linear = (
        [task.tags.decode(row) for row in made[name][1].tolist()]
        for name in ("usual_tag", "linear")
    )
    assert linear[:3] == tags[:3] and len(linear[3]) == 2
    assert usual[:3] == tags[:3] and usual[3][0] == "O"


def test_tags_do_without_the_end_mark() -> None:
    codec, batch = batched(texts([["O", "B-X", "I-X"], ["B-X", "O", "O"]]))
    task = Tag(codec, crf=False, **SHARED)
    gold = task.gold(batch)
    assert gold.shape == (2, 3) and EOS not in gold
    right = figures(task, batch, torch.zeros(1), gold)
    assert right["span_f1"] == 1 and right["token_accuracy"] == 1
    wrong = gold.clone()
    wrong[0, 2] = gold[0, 0]  # the span ends too early
    found = figures(task, batch, torch.zeros(1), wrong)
    assert found["span_f1"] == pytest.approx(0.5) and found["token_accuracy"] == pytest.approx(
        5 / 6
    )
    perfect = F.one_hot(gold, len(codec.answers.vocabulary)) * 30.0  # type: ignore[attr-defined]
    assert float(task.loss(perfect, batch)) < 1e-6


def test_answers_that_are_no_tags_are_refused() -> None:
    codec, batch = batched(texts([["O"], ["O", "O"]]))  # of three units
    with pytest.raises(UserError, match="Did you mean 'generate'"):
        Tag(codec, crf=False, **SHARED).loss(torch.zeros(2, 3, 5), batch)


def test_classes() -> None:
    codec, batch = batched(texts(["no", "yes", "yes"]))
    task = Classify(codec, hops=1, merge_labels=None, class_weights="none", **SHARED)
    found = figures(task, batch, torch.zeros(1), torch.tensor([[0], [1], [0]]))
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_ranks() -> None:
    examples = [
        Example(str(i), {"items": ["x", "y"]}, answer, attended="items")
        for i, answer in enumerate(["y", "z"])
    ]
    codec, batch = batched(examples)
    scores = torch.zeros(2, 1, len(codec.answers.vocabulary))  # type: ignore[attr-defined]
    scores[0, 0, batch.answer.values[0, 0]] = 2.0  # first
    scores[1, 0, batch.answer.values[1, 0]] = 1.0
    scores[1, 0, batch.answer.values[0, 0]] = 2.0  # second
    scores[:, 0, : len(SPECIAL)] = 3.0  # marks are no items
    task = Rank(codec, learn="answer", mask_share=0.0, repeats=True, **SHARED)
    found = figures(task, batch, scores, torch.zeros(1))
    assert found["hr@1"] == pytest.approx(0.5) and found["hr@10"] == 1


QUERIES = 4
SAID_BY = {(0, 0): 2, (0, 1): 0, (1, 0): 3}  # example and box -> the query that says it


def locate() -> tuple[Locate, Batch, torch.Tensor]:
    """The task, a batch, and scores that say exactly what gold says, in an order of their own."""
    gold = [
        np.array([[0, 0, 8, 8, 0], [8, 8, 16, 12, 1]], np.float32),
        np.array([[4, 4, 8, 8, 1]], np.float32),
    ]
    codec, batch = batched(pictures(gold))
    task = Locate(codec, queries=QUERIES, rounds=1, box_weight=1.0, none_weight=0.1, **SHARED)
    scores = torch.zeros(2, QUERIES, 4 + 3)
    scores[..., 2:4] = 0.1
    scores[..., 6] = 30.0  # nothing
    for (example, box), query in SAID_BY.items():
        edges, kind = batch.answer.values[example, box].tensor_split([4])
        scores[example, query, :4] = edges / SIZE
        scores[example, query, 4 + int(kind)] = 60.0
    return task, batch, scores


def test_boxes_cost_nothing_in_whatever_order_they_are_said() -> None:
    task, batch, scores = locate()
    rows = task.rows(scores, batch)
    assert rows[0, :2].tolist() == [2, 0] and rows[1, 0].item() == 3
    assert [sorted(each) for each in rows.tolist()] == [[0, 1, 2, 3]] * 2
    assert float(task.loss(scores, batch)) < 1e-5
    assert task.losses(scores, batch)[1].tolist() == [2, 1]
    moved = scores.clone()
    moved[1, 1, :4] += 0.3  # a query that says there is nothing: its edges do not count
    assert float(task.loss(moved, batch)) < 1e-5
    moved[0, 0, :4] += 0.3
    assert float(task.loss(moved, batch)) > 0.1


def test_maps_of_queries_are_brought_into_the_order_of_gold() -> None:
    task, batch, scores = locate()
    maps = torch.arange(2 * 3 * QUERIES * 5).view(2, 3, QUERIES, 5)
    by_gold = task.as_gold(maps, scores, batch)
    assert by_gold.shape == (2, 3, 2, 5)
    for (example, box), query in SAID_BY.items():
        assert torch.equal(by_gold[example, :, box], maps[example, :, query])
    assert torch.equal(task.as_gold(maps[:, 0], scores, batch), by_gold[:, 0])


def test_boxes_are_evaluated_whichever_query_predicts_them() -> None:
    task, batch, scores = locate()
    said = torch.zeros(2, QUERIES, 6)
    for (example, box), query in SAID_BY.items():
        said[example, query, :5], said[example, query, 5] = batch.answer.values[example, box], 0.9
    found = figures(task, batch, scores, said)
    assert found["box_iou"] == pytest.approx(1) and found["map50"] == pytest.approx(1)
    said[0, 0, 5] = 0.3  # less than sure: precision still counts it, as the last
    found = figures(task, batch, scores, said)
    assert found["box_iou"] == pytest.approx(2 / 3) and found["map50"] == pytest.approx(1)
    said[0, 0, 5] = 0.0
    assert figures(task, batch, scores, said)["map50"] == pytest.approx(0.75, abs=0.01)


def test_pixels() -> None:
    gold = np.zeros((SIZE, SIZE), np.float32)
    gold[:4, :4] = 2
    codec, batch = batched(pictures([gold, gold]))
    task = Segment(codec, gated=True, **SHARED)
    scores = F.one_hot(batch.answer.values, 3).permute(0, 3, 1, 2) * 30.0
    assert float(task.loss(scores, batch)) < 1e-6
    found = figures(task, batch, scores, batch.answer.values)
    assert found["mean_iou"] == 1 and found["pixel_accuracy"] == 1
    assert task.texts(batch.answer.values, batch) == ["2:16", "2:16"]


def test_map_as_the_answer_costs_its_divergence_from_gold() -> None:
    weights = np.random.default_rng(0).random((1, SIZE * SIZE)).astype(np.float32)
    on = np.ones(1, bool), np.ones(SIZE * SIZE, bool)
    target = AttentionTarget(weights, *on, kind="soft")
    examples = [replace(e, target=target) for e in pictures([None, None])]
    codec, batch = batched(examples)
    task = Attend(codec, map="pooling")
    gold = batch.target.distribution()
    assert float(task.loss(gold.log()[:, None], batch)) == pytest.approx(0, abs=1e-5)
    flat = torch.full_like(gold, 1 / gold.shape[-1])
    expected = float((gold * (gold / flat).log()).sum(-1).mean())
    assert float(task.loss(flat.log()[:, None], batch)) == pytest.approx(expected, rel=1e-4)
    assert figures(task, batch, torch.zeros(1), gold)["cc"] == pytest.approx(1)
