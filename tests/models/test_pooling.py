"""Sentences become states that are attended to as words are, and looked at several times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Batch, Padded
from attnlab.data.example import Example
from attnlab.datasets.targets import span_target
from attnlab.errors import ConfigError
from attnlab.explain.subject import Subject
from attnlab.models.pooling import Position
from tests.models.building import WORDS, built, small_config

KINDS = ["bag", "position", "attention"]


def stories(*lengths: list[int]) -> list[Example]:
    """Texts of sentences of so many words, with a question, two facts and an answer."""
    random = np.random.default_rng(0)
    made = []
    for i, sizes in enumerate(lengths):
        text = [random.choice(WORDS, size).tolist() for size in sizes]
        facts = span_target([[(0, 1)], [(len(sizes) - 1, len(sizes))]], len(sizes))
        inputs = {"text": text, "question": random.choice(WORDS, 3 + i).tolist()}
        made.append(Example(str(i), inputs, WORDS[i], facts))
    return made


def with_text(batch: Batch, values: torch.Tensor) -> Batch:
    text = Padded(values, batch.inputs["text"].mask)
    return replace(batch, inputs=batch.inputs | {"text": text})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["recurrent", "transformer"])
def test_a_map_has_a_column_for_each_sentence(model: str, kind: str) -> None:
    config = small_config("task=classify", f"model={model}", f"model/sentences={kind}")
    network, batch, _ = built(config, stories([3, 5, 2], [4]))
    with Tap(network, "pooling") as tap:
        scores = network(batch)
    assert scores.shape == (2, 1, 2)
    weights = tap.weights().mean(1)
    assert weights.shape == (2, 1, 3) == batch.target.weights.shape
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1))
    assert (weights[1, :, 1:] == 0).all(), "the second text has one sentence"


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_words_and_sentences_changes_nothing(kind: str) -> None:
    config = small_config("task=classify", f"model/sentences={kind}", "task.hops=2")
    network, batch, _ = built(config, stories([3, 5, 2], [4]))
    text = batch.inputs["text"].values
    wider = torch.nn.functional.pad(text, (0, 3))
    torch.testing.assert_close(network(with_text(batch, wider)), network(batch))
    second = Batch(
        {name: Padded(p.values[1:], p.mask[1:]) for name, p in batch.inputs.items()},
        Padded(batch.answer.values[1:], batch.answer.mask[1:]),
        batch.target.select(slice(1, 2)),
        batch.index[1:],
    )
    inputs = second.inputs | {"text": Padded(text[1:, :1, :4], second.inputs["text"].mask[:, :1])}
    torch.testing.assert_close(network(replace(second, inputs=inputs)), network(batch)[1:])


def test_position_encoding_is_that_of_the_paper() -> None:
    words, mask = torch.randn(1, 1, 4, 6, dtype=torch.double), torch.ones(1, 1, 4).bool()
    mask[..., 3] = False
    config = small_config("task=classify")
    made = Position(config.model.build())(words, mask)[0, 0]
    expected = torch.zeros(6, dtype=torch.double)
    for j in range(1, 4):
        for k in range(1, 7):
            share = (1 - j / 3) - (k / 6) * (1 - 2 * j / 3)
            expected[k - 1] += share * words[0, 0, j - 1, k - 1] / 3**0.5
    torch.testing.assert_close(made, expected)


def test_a_bag_does_not_know_the_order_of_words_and_a_position_does() -> None:
    for kind, knows in (("bag", False), ("position", True)):
        config = small_config("task=classify", f"model/sentences={kind}")
        network, batch, _ = built(config, stories([3, 3], [3]))
        turned = with_text(batch, batch.inputs["text"].values.flip(-1))
        assert torch.allclose(network(batch), network(turned), atol=1e-6) != knows


def test_each_sentence_looks_at_its_own_words() -> None:
    config = small_config("task=classify", "model/sentences=attention")
    network, batch, _ = built(config, stories([3, 5, 2], [4]))
    with Tap(network, "words.pooling") as tap:
        network(batch)
    own = tap.weights()[:, 0, 0].view(2, 3, 5)  # batch x sentences x words
    torch.testing.assert_close(own.sum(-1), torch.tensor([[1.0, 1, 1], [1, 0, 0]]))
    assert (own[0, 2, 2:] == 0).all(), "two words"


@pytest.mark.parametrize("attention", ["general", "multihead", "additive"])
def test_every_look_is_a_row_that_its_gold_trains(attention: str) -> None:
    config = small_config("task=classify", "task.hops=2", f"attention={attention}")
    network, batch, _ = built(config, stories([3, 5, 2], [4, 1]))
    with Tap(network, "pooling") as tap:
        network(batch)
    log_weights = tap.log_weights()
    assert log_weights.shape[2:] == (2, 3) == batch.target.weights.shape[1:]
    (log_weights[0, :, 1, 2]).sum().backward()
    assert network.pooling.updates[0].weight.grad.abs().sum() > 0, "the first hop shifts the second"
    assert network.pooling.updates[1].weight.grad is None, "what the second found is for the answer"


def test_looks_cannot_be_predicted_before_they_are_made() -> None:
    with pytest.raises(ConfigError) as raised:
        load(
            [
                "~experiment",
                "task=classify",
                "dataset=reviews",
                "task.hops=2",
                "+attention@model.prediction=additive",
            ]
        )
    assert str(raised.value).startswith(
        "task.hops: each hop depends on those before it, which a prediction cannot know; "
        "try: task.hops=1, or model.prediction=null"
    )


def test_a_sentence_can_be_erased() -> None:
    """Explanations show a model what its embedder sees in an empty sentence."""
    config = small_config("task=classify", "task.hops=2")
    network, batch, codec = built(config, stories([3, 5, 2], [4]))
    subject = Subject.of(network, config.task.build(codec), batch)
    assert subject.embedded.values.shape[:2] == (2, 3) == subject.blank.shape[:2]
    kept = ~torch.eye(3, dtype=torch.bool).expand(2, -1, -1)
    found = subject.where_kept(kept, Subject.evidence)
    assert found.shape == (2, 3, 1)
    assert found[0].std() > 0
