"""Losses that train the predictors of blocks, against plain loops; what they train, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.block_scores import dense_mass
from attnlab.attention.mask import Mask
from attnlab.attention.taps import Tap
from attnlab.data.target_batch import collate_targets
from attnlab.datasets.targets import span_target
from attnlab.objectives.predictors import BlockDistillation, BlockGold, BlockTerm
from tests.attention.test_predicted import LENGTH, predicted, states

BLOCKS = 10
EVIDENCE = [[(20, 24), (30, 34)], [(100, 102)]]  # 16 blocks of 10: in 1 and 2; in 6


class Model(nn.Module):
    """One layer that predicts, and a pooling whose map gold is of."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.attention = predicted(**changes)
        self.pooling = predicted()
        self.pooling.site, self.pooling.role = "pooling", "pooling"
        self.pooling.structure = nn.Identity()


def view_of(model: Model, *, causal: bool = False, task_map: str = "pooling", step: int = 0) -> Any:
    target = collate_targets([span_target([each], LENGTH) for each in EVIDENCE], 1, LENGTH)
    x = states().requires_grad_()
    mask = Mask(causal=causal, keys=torch.arange(LENGTH) < torch.tensor([150, 120])[:, None])
    with Tap(model, "encoder.self.0") as tap:
        model.attention(x, x, x, mask)
    return SimpleNamespace(
        batch=SimpleNamespace(target=target),
        model=model,
        taps={"encoder.self.0": tap},
        task=SimpleNamespace(map=task_map, rows=lambda scores, batch: None),
        scores=None,
        sums=x.new_zeros(2),
        step=step,
        x=x,
    )


def learning(term: BlockTerm, model: Model) -> BlockTerm:
    assert term.applies_to(model)
    return term


def by_loops(log_shares: Tensor, target: Tensor, rows: Any) -> float:
    """-(1/N) sum t log p, head by head and row by row."""
    losses = []
    for example, row in rows:
        for head in range(log_shares.shape[1]):
            t = target[example, head, row] if target.shape[1] > 1 else target[example, 0, row]
            losses.append(-(t / t.sum() * log_shares[example, head, row]).sum().item())
    return float(np.mean(losses))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pool", ["mean", "most"])
def test_distillation_is_cross_entropy_to_the_dense_map(causal: bool, pool: Any) -> None:
    model = Model()
    view = view_of(model, causal=causal)
    loss = learning(BlockDistillation(rows=None, pool=pool), model)(view)
    (call,) = view.taps["encoder.self.0"].calls
    mass = dense_mass(call, most=pool == "most")
    log_shares, _ = model.attention.structure.log_shares(call)
    rows = [
        (e, r) for e in range(2) for r in range(BLOCKS) if (r or not causal) and (r < 8 or not e)
    ]
    assert loss.value.item() == pytest.approx(by_loops(log_shares, mass, rows), rel=1e-5)
    assert loss.count.item() == len(rows)


def test_masses_of_the_forward_pass_serve_where_all_blocks_are_read() -> None:
    model = Model(dense_steps=5)
    view = view_of(model)
    (call,) = view.taps["encoder.self.0"].calls
    assert call.block_mass is not None
    term = learning(BlockDistillation(rows=4, pool="mean"), model)
    expected = dense_mass(call)
    target = term.target(view, call, model.attention.structure.sides(call))
    assert target is not None
    torch.testing.assert_close(target[0].float(), expected[0], atol=1e-5, rtol=1e-4)


def test_a_few_rows_of_each_block_stand_for_all() -> None:
    call = view_of(Model()).taps["encoder.self.0"].calls[0]
    torch.manual_seed(0)
    few = torch.stack([dense_mass(call, 4) for _ in range(60)]).mean(0)
    torch.testing.assert_close(few[:, :, :7], dense_mass(call)[:, :, :7], atol=0.02, rtol=0.2)


@pytest.mark.parametrize("queries", ["last", "all"])
def test_gold_evidence_is_summed_over_blocks(queries: Any) -> None:
    model = Model()
    view = view_of(model)
    loss = learning(BlockGold(queries=queries), model)(view)
    log_shares, _ = model.attention.structure.log_shares(view.taps["encoder.self.0"].calls[0])
    target = torch.zeros(2, 1, BLOCKS, BLOCKS)
    target[0, :, :, 1], target[0, :, :, 2] = 6, 2  # positions 20 to 23, 30, 31; 32, 33
    target[1, :, :, 6] = 2
    last = [(0, 9), (1, 7)]
    rows = last if queries == "last" else [(e, r) for e in range(2) for r in range(10 - 2 * e)]
    assert loss.value.item() == pytest.approx(by_loops(log_shares, target, rows), rel=1e-5)


def test_gold_of_positions_is_summed_over_their_blocks() -> None:
    model = Model()
    view = view_of(model, causal=True, task_map="encoder.self.0")
    gold = np.zeros((LENGTH, LENGTH), np.float32)
    gold[100, 20] = gold[110, 50] = gold[140, 139] = 1
    target = span_target([[(0, 1)]] * LENGTH, LENGTH)
    target = collate_targets(
        [type(target)(gold, np.asarray(gold.any(1)), np.ones(LENGTH, bool))], 150, LENGTH
    )
    view.batch.target = target
    view.taps["encoder.self.0"].calls = [
        view.taps["encoder.self.0"].calls[0].sample(torch.tensor([0]))
    ]
    loss = learning(BlockGold(queries="last"), model)(view)
    log_shares, _ = model.attention.structure.log_shares(view.taps["encoder.self.0"].calls[0])
    expected = torch.zeros(1, 1, BLOCKS, BLOCKS)
    expected[0, 0, 6, 1] = expected[0, 0, 6, 3] = expected[0, 0, 8, 8] = 1
    rows = [(0, 6), (0, 8)]
    assert loss.value.item() == pytest.approx(by_loops(log_shares, expected, rows), rel=1e-5)


@pytest.mark.parametrize(
    "term", [BlockDistillation(rows=4, pool="mean"), BlockGold(queries="last")], ids=["map", "gold"]
)
@pytest.mark.parametrize("by", ["learned", "indexer"])
def test_the_predictor_alone_learns_and_counts_steps(term: BlockTerm, by: str) -> None:
    model = Model(dense_steps=3, by=by)
    view = view_of(model, step=1)
    learning(term, model)(view).total.backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    own = {
        f"attention.structure.predictor.{name}"
        for name, _ in model.attention.structure.predictor.named_parameters()
    }
    assert trained == own
    assert view.x.grad is None
    assert model.attention.structure.dense
    term(view_of(model, step=2))
    assert not model.attention.structure.dense


@pytest.mark.parametrize("by", ["learned", "indexer"])
def test_losses_fall_and_what_is_chosen_follows_gold(by: str) -> None:
    model = Model(density=0.3, sink=0, local=0, by=by)
    term = learning(BlockGold(queries="all"), model)
    optimizer = torch.optim.Adam(model.attention.structure.parameters(), lr=0.05)
    recalls = []
    for _ in range(30):
        loss = term(view_of(model))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        recalls.append(loss.figures["recall"].item())
    assert recalls[-1] > 0.99 > recalls[0]


def test_models_without_a_learned_predictor_have_nothing_to_learn() -> None:
    assert not BlockGold(queries="last").applies_to(Model(by="means"))
