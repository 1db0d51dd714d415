"""A model starts with another one's parameters: those of the same name, words as words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.errors import UserError
from attnlab.models.transfer import start_from
from tests.models import pretrained
from tests.models.building import built, small_config
from tests.models.test_hf import classifier

LABELS = ["good", "bad", "fair"]


def made(
    words: str, *overrides: str, labels: list[str] | None = None, task: str = "classify"
) -> tuple[nn.Module, Batch, Codec]:
    """A model of texts that are made of these letters."""
    random, kinds = np.random.default_rng(0), labels or LABELS
    answers = [kinds[i % len(kinds)] for i in range(12)]
    examples = [
        Example(str(i), {"text": [*random.choice([*words], 5)]}, None if task != "classify" else a)
        for i, a in enumerate(answers)
    ]
    dataset = [] if task == "classify" else ["dataset=text"]
    return built(small_config(f"task={task}", *dataset, *overrides), examples)


def row(model: nn.Module, codec: Codec, word: str) -> Tensor:
    number = codec.texts["text"].encode([word])[0]
    return model.get_submodule("reader.embedders.0.embedding").units.weight[number]  # type: ignore


def test_words_are_matched_as_words_and_labels_as_labels() -> None:
    source, _, given = made("abcdef")
    model, _, codec = made("fedxyz", labels=["fair", "good", "so so"])
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    taken = start_from(model, source, (codec, given), whole=True)
    for word in "fed":
        assert torch.equal(row(model, codec, word), row(source, given, word))
    assert not torch.equal(row(model, codec, "x"), row(source, given, "a"))
    labels, old = codec.answers.labels, given.answers.labels  # type: ignore[attr-defined]
    for label in ("fair", "good"):
        pair = labels.index(label), old.index(label)
        assert torch.equal(model.output.weight[pair[0]], source.output.weight[pair[1]])  # type: ignore
    others = [n for n, _ in model.named_parameters() if "embedders" not in n and "output" not in n]
    assert all(torch.equal(model.get_parameter(n), source.get_parameter(n)) for n in others)
    assert (taken.units, taken.all_units) == (4 + 3 + 2, 4 + 6 + 3)  # with special ones and labels
    assert not taken.new and not taken.unfit


def test_affixes_are_matched_by_their_letters() -> None:
    lettered = ("model.embedding_std=0.1",)
    source, _, given = made("abcdef", *lettered)
    model, _, codec = made("fedxyz", *lettered)
    assert start_from(model, source, (codec, given), whole=True).numbers


def test_of_another_task_the_head_stays_new() -> None:
    ways = ("model=transformer", "attention=multihead")
    source, _, given = made("abcdef", *ways, task="language_model")
    model, _, codec = made("fedxyz", *ways)
    head = model.output.weight.clone()  # type: ignore[union-attr]
    taken = start_from(model, source, (codec, given), whole=False)
    assert torch.equal(row(model, codec, "d"), row(source, given, "d"))
    for name, parameter in model.reader.encoder.named_parameters():  # type: ignore[union-attr]
        assert torch.equal(parameter, source.reader.encoder.get_parameter(name))  # type: ignore
    assert torch.equal(model.output.weight, head)  # type: ignore[union-attr]
    assert str(taken).endswith(" 7 of 10 units; new: pooling, output")


def test_what_does_not_fit_is_said_with_both_sizes() -> None:
    source, _, given = made("abcdef")
    wider, _, codec = made("abcdef", "model.dim=32")
    with pytest.raises(UserError, match=r"^reader\.encoder\..*: \(.*\) there, \(.*\) here"):
        start_from(wider, source, (codec, given), whole=True)
    other, _, codec = made("abcdef", "model=transformer", "attention=multihead")
    with pytest.raises(UserError, match="another kind of model"):
        start_from(other, source, (codec, given), whole=True)


def test_a_tuned_model_starts_with_an_untuned_one(tmp_path: Path) -> None:
    folder = pretrained.bert(tmp_path / "bert")
    source, batch, given = classifier(folder)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model, _, codec = classifier(folder, "model/tuning=lora")
    taken = start_from(model, source, (codec, given), whole=True)
    torch.testing.assert_close(model(batch), source(batch), atol=1e-4, rtol=1e-3)
    assert not taken.new and not taken.unfit
