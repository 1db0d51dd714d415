"""Figures of chosen blocks, counted by loops over the dense map."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.mask import Mask
from attnlab.metrics.read_blocks import ReadBlocks, predictors, recorded_choices
from tests.attention.test_predicted import LENGTH, states
from tests.objectives.test_predictors import EVIDENCE, Model, view_of


@pytest.mark.parametrize("by", ["mass", "random"])
def test_shares_of_mass_of_evidence_and_of_blocks(by: str) -> None:
    model = Model(by=by, density=0.3, sink=0, local=0)
    x = states()
    with recorded_choices(model) as calls:
        model.attention(x, x, x, Mask())
    ((structure, (call,)),) = calls
    metric = ReadBlocks()
    metric.update(calls, view_of(model).batch.target, None)
    found = metric.compute()

    dense = Model(by=by, density=1.0).attention.weights(x, x)
    chosen = structure.choose(call)
    assert chosen is not None
    held, read = [], []
    for example in range(2):
        for head in range(4):
            for row in range(10):
                rows = dense[example, head, row * 16 : row * 16 + 16]
                blocks = chosen[example, head, row].nonzero()[:, 0].tolist()
                mass = sum(rows[:, b * 16 : b * 16 + 16].sum(-1).mean().item() for b in blocks)
                held.append(mass)
                read.append(len(blocks) / 10)
    evidence = []
    for example, spans in enumerate(EVIDENCE):
        for start, end in spans:
            evidence += [chosen[example, :, 9, i // 16].any().item() for i in range(start, end)]
    assert found["block_mass"] == pytest.approx(sum(held) / len(held), rel=1e-5)
    assert found["block_evidence"] == pytest.approx(sum(evidence) / len(evidence))
    assert found["block_density"] == pytest.approx(sum(read) / len(read)) == 0.3
    assert metric.intervals()["block_mass"].low <= found["block_mass"]


def test_the_oracle_holds_most_of_the_mass() -> None:
    held = {}
    for by in ("mass", "random", "nearest", "bounds", "means"):
        model = Model(by=by, density=0.3, sink=0, local=0)
        x = states()
        with recorded_choices(model) as calls:
            model.attention(x, x, x, Mask(keys=torch.arange(LENGTH).expand(2, -1) < 140))
        metric = ReadBlocks()
        metric.update(calls, view_of(model).batch.target, None)
        held[by] = metric.compute()["block_mass"]
    assert max(held, key=lambda by: held[by]) == "mass"


def test_models_that_choose_nothing_have_no_figures() -> None:
    with recorded_choices(torch.nn.Linear(1, 1)) as calls:
        pass
    assert not calls
    assert not predictors(torch.nn.Linear(1, 1))
