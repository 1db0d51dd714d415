"""Gradual unfreezing: the head first, then layer by layer from the top, at last the embedders."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from attnlab.config.compose import load
from attnlab.config.section import register
from attnlab.errors import ConfigError
from attnlab.models.tuning import from_the_top
from tests.models import pretrained
from tests.models.building import built, small_config, texts
from tests.models.test_hf import classifier
from tests.runs import ran

REVIEWS = (
    *("experiment=reviews", "model=transformer", "attention=multihead", "model.dim=16"),
    *("dataset.train=32", "dataset.val=8", "dataset.test=8", "metrics.figures=[]"),
)
UNFREEZE = "+trainer.callbacks.unfreeze={kind: unfreeze, every_epochs: 1}"
SEEN: list[set[str]] = []


def names(model: torch.nn.Module, group: list[torch.nn.Parameter]) -> set[str]:
    inside = {id(parameter) for parameter in group}
    return {name for name, p in model.named_parameters() if id(p) in inside}


def test_layers_come_from_the_top_and_embedders_last() -> None:
    config = small_config("task=generate", "model=transformer", "attention=multihead")
    model, _, _ = built(config, texts([3, 2], [4, 6]))
    top, below, embedders = (names(model, group) for group in from_the_top(model))
    assert all(n.startswith(("reader.encoder.layers.1.", "reader.encoder.norm.")) for n in top)
    assert all(name.startswith("reader.encoder.layers.0.") for name in below)
    assert all(name.startswith("reader.embedders.") for name in embedders)


def test_layers_of_a_pretrained_model(tmp_path: Path) -> None:
    model, _, _ = classifier(pretrained.bert(tmp_path / "bert"))
    *layers, embedders = (names(model, group) for group in from_the_top(model))
    numbers = [{name.split(".layer.")[1].split(".")[0] for name in layer} for layer in layers]
    assert numbers == [{str(number)} for number in reversed(range(len(layers)))]
    assert all("embedding" in name for name in embedders)


def test_one_more_layer_learns_each_epoch(tmp_path: Path, forgotten_plugins: None) -> None:
    @register("callback", "seen")
    class Seen(pl.Callback):
        def __init__(self, trainer: object) -> None: ...

        def on_train_batch_start(self, trainer, module, batch, idx) -> None:  # type: ignore
            SEEN.append({n for n, p in module.model.named_parameters() if p.requires_grad})

    more = ("trainer.max_epochs=4", "trainer.batches.size=32", "stages=[prepare,train]")
    ran(tmp_path, *REVIEWS, UNFREEZE, "+trainer.callbacks.seen={kind: seen}", *more)
    head, one, two, whole = SEEN
    assert not any(name.startswith("reader.") for name in head)
    assert {n.split(".")[3] for n in one - head if ".layers." in n} == {"1"}
    assert {n.split(".")[3] for n in two - one if ".layers." in n} == {"0"}
    assert all(name.startswith("reader.embedders.") for name in whole - two)


def test_what_never_learns_cannot_begin_to() -> None:
    words = [*REVIEWS, UNFREEZE, "model/tuning=head"]
    with pytest.raises(ConfigError, match=r"trainer\.callbacks\.unfreeze\.kind: of the encoder"):
        load(words)
