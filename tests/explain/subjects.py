"""Small models with random weights, in double precision, as subjects of explanation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.data.batch import Batch, Padded
from attnlab.data.example import Example
from attnlab.explain.subject import Subject
from tests.models.building import WORDS, built, small_config

MULTIHEAD = ("attention=multihead", "attention.heads.count=2", "model=transformer")
PICTURE = ("model/image=patches", "model.image.size=3")  # three by three, the last ones cut off
PREDICTED = ("model.prediction=${attention}", "task.map=prediction.cross.0")
CASES: dict[str, tuple[str, ...]] = {
    "recurrent classify": ("model=recurrent", "task=classify"),
    "summed classify": ("attention=uniform", "model.encoder_layers=0", "task=classify"),
    "recurrent generate": ("model=recurrent", "task=generate"),
    "stepwise generate": ("model=recurrent", "task=generate", "model.query=previous_state"),
    "coverage generate": ("model=recurrent", "task=generate", "attention=coverage"),
    "transformer classify": (*MULTIHEAD, "task=classify"),
    "transformer rank": (*MULTIHEAD, "task=rank"),
    "cloze rank": (
        *MULTIHEAD,
        "task=rank",
        "task.learn=masked_positions",
        "objective=unsupervised",
    ),
    "transformer tag": (*MULTIHEAD, "task=tag"),
    "transformer generate": (*MULTIHEAD, "task=generate"),
    "text and question": (*MULTIHEAD, "task=classify"),
    "recurrent text and question": ("model=recurrent", "task=classify"),
    "merged classify": ("model=recurrent", "task=classify", "task.merge_labels={no:yes}"),
    "two looks classify": ("model=recurrent", "task=classify", "task.hops=2"),
    "picture": (*MULTIHEAD, *PICTURE, "task=classify"),
    "picture and question": (*MULTIHEAD, *PICTURE, "task=classify"),
    "predicted": (*MULTIHEAD, *PREDICTED, "task=generate"),
}
GENERATED = [case for case, words in CASES.items() if "task=generate" in words]
LENGTHS = (5, 3, 4)


def subject(case: str, lengths: tuple[int, ...] = LENGTHS) -> Subject:
    """One of the cases above; its examples have texts of these lengths."""
    words = [*CASES[case], *(("task.max_length=4",) if case in GENERATED else ())]
    config = small_config(*words)
    model, batch, codec = built(config, examples(case, lengths))
    found = Subject.of(model.double(), config.task.build(codec), in_double(batch))
    return replace(found, at_once=7)


def examples(case: str, lengths: tuple[int, ...] = LENGTHS) -> list[Example]:
    """Examples that fit a case."""
    random = np.random.default_rng(0)
    return [_example(case, i, length, random) for i, length in enumerate(lengths)]


def _example(case: str, number: int, length: int, random: np.random.Generator) -> Example:
    words = random.choice(WORDS, length).tolist()
    question = {"question": random.choice(WORDS, 2 + number).tolist()}
    label = ["yes", "no", "perhaps"][number % 3]
    if case.startswith("picture"):
        picture = {"image": random.random((1, 8, 8), np.float32)}
        inputs = picture | question if case.endswith("question") else picture
        return Example(str(number), inputs, label, attended="image")
    if case.endswith("rank"):
        return Example(str(number), {"items": words}, words[0], attended="items")
    if case.endswith("tag"):
        return Example(str(number), {"text": words}, random.choice(["X", "Y"], length).tolist())
    if case.endswith("text and question"):
        return Example(str(number), question | {"text": words}, label)
    answer = label if case.endswith("classify") else random.choice(WORDS, 2).tolist()
    return Example(str(number), {"text": words}, answer)


def in_double(batch: Batch) -> Batch:
    """Pictures and sounds in double precision."""

    def widened(padded: Padded) -> Padded:
        values = padded.values
        return Padded(values.double() if values.is_floating_point() else values, padded.mask)

    return replace(batch, inputs={name: widened(p) for name, p in batch.inputs.items()})
