"""One matrix for the units of all texts and for the scores of those that are written."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnlab.models.builder import Units
from tests.models.building import built, small_config, texts

KINDS = {
    "recurrent": ["model=recurrent", "model.embedding_dim=12"],
    "previous_state": ["model=recurrent", "model.query=previous_state", "model.embedding_dim=12"],
    "convolutional": ["model=convolutional", "model.encoder_layers=1", "model.embedding_dim=12"],
    "transformer": ["model=transformer", "attention=multihead"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_scores_by_the_vectors_that_it_reads(kind: str) -> None:
    model, batch, codec = built(
        small_config(*KINDS[kind], "model.tie=output"), texts([3, 2], [4, 5])
    )
    assert len(tables(model)) == 2, "one of the input, one of the output"
    assert any(table.weight is model.decoder.output.weight for table in tables(model))
    with torch.no_grad():
        scores = model(batch)
    assert scores.shape[-1] == len(codec.answers.vocabulary)


def test_all_texts_share_a_matrix_where_they_share_a_vocabulary() -> None:
    units = Units("all", "model.dim")
    first = units.embedding(9, 64)
    assert units.embedding(9, 64) is first
    assert units.output(first, 64).weight is first.weight
    assert first.weight[1:].std().item() == pytest.approx(1 / 8, rel=0.2)


def test_untied_ones_are_apart() -> None:
    units = Units("none", "model.dim", std=2.0)
    first = units.embedding(9, 64)
    assert first.weight[1:].std().item() == pytest.approx(2, rel=0.2)
    assert units.embedding(9, 64) is not first
    assert units.output(first, 64).weight is not first.weight
    assert not first.weight[0].any(), "padding has no vector"


def tables(model: nn.Module) -> list[nn.Embedding]:
    return [module for module in model.modules() if isinstance(module, nn.Embedding)]
