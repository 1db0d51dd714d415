"""Several examples in one row: what comes out is what comes out without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnlab.attention.taps import Intervention, Tap, uniform, watched
from attnlab.config.compose import load
from attnlab.errors import UserError
from attnlab.metrics.read_blocks import predictors
from attnlab.models.transformer_layers import Packing, in_rows, recomputed
from tests.models.building import built, mechanisms, small_config, texts, with_mechanism

LENGTHS = [2, 9, 5, 1, 4, 3]
MODEL = ["model=transformer", "model.feedforward_dim=16", "model.packed=true"]
PACKABLE = [
    *("additive", "alibi", "causal", "concat", "cosine", "differential", "dilated", "dot"),
    *("entmax", "gated", "general", "grouped_query", "hard", "hard_kuma", "l2", "learned_entmax"),
    *("linear_score", "multi_query", "multihead", "off_by_one", "reinforce", "rope", "scaled_dot"),
    *("shaw", "sigmoid", "sink", "sparsemax", "t5", "talking", "top_k", "transformer_xl"),
    *("trilinear", "window"),
]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_every_example_is_in_one_row_and_no_row_is_too_full(lengths: list[int]) -> None:
    width = max(lengths)
    rows = in_rows(lengths, width)
    assert sorted(example for row in rows for example in row) == list(range(len(lengths)))
    assert all(sum(lengths[example] for example in row) <= width for row in rows)
    half_empty = [sum(lengths[e] for e in row) * 2 <= width for row in rows]
    assert sum(half_empty) <= 1, "two of them would have been one"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_what_is_packed_comes_out_again(lengths: list[int]) -> None:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    states = torch.randn(*mask.shape, 3) * mask[..., None]
    packing = Packing.of(mask)
    if packing is None:
        assert len(in_rows(lengths, max(lengths))) == len(lengths)
        return
    rows = packing.packed(states)
    assert len(rows) < len(lengths)
    torch.testing.assert_close(rows.sum(), states.sum(), rtol=1e-4, atol=1e-4)
    assert torch.equal(packing.unpacked(rows, states), states)


def test_mechanisms_that_can_be_packed_are_these() -> None:
    def refused(name: str) -> bool:
        try:
            with_mechanism(name, *MODEL)
        except UserError as error:
            return "model.packed" in str(error)
        return False

    assert [name for name in mechanisms() if not refused(name)] == PACKABLE


@pytest.mark.parametrize("name", PACKABLE)
def test_each_is_read_as_in_a_row_of_its_own(name: str) -> None:
    model, batch, _ = built(with_mechanism(name, *MODEL), texts([2] * len(LENGTHS), LENGTHS))
    encoder = model.reader.encoder
    assert Packing.of(batch.inputs["text"].mask).owners.shape == (3, 9)
    with torch.no_grad():
        packed = model(batch)
        encoder.packed = False
        torch.testing.assert_close(packed, model(batch), atol=2e-5, rtol=1e-4)


def test_gradients_are_the_same() -> None:
    model, batch, _ = built(small_config("attention=rope", *MODEL), texts([2] * 6, LENGTHS))

    def gradients(packed: bool) -> list[torch.Tensor]:
        model.reader.encoder.packed = packed
        model.zero_grad()
        model(batch).square().mean().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for one, other in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


KINDS = {
    "encoder and decoder": ["attention=multihead", "attention.dropout=0.2"],
    "decoder alone": ["dataset=induction", "task=language_model", "attention=alibi"],
    "packed": ["attention=rope", "model.packed=true"],
    "Conformer": ["attention=shaw", "model.kernel=3"],
    "blocks": [
        *("attention=rope", "attention/structure=predicted", "attention.structure.dense_steps=1"),
        *("objective/terms=block_distillation", "attention.structure.block=16"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_computed_once_more_is_the_same_bit_for_bit(kind: str) -> None:
    words = [*MODEL[:2], "model.dropout=0.3", *KINDS[kind]]
    model, batch, _ = built(small_config(*words), texts([2] * 6, [20, 37, 5, 9, 3, 40]))
    stacks = [each for each in model.modules() if hasattr(each, "recomputes")]
    assert len(stacks) == 1 + (kind != "decoder alone")
    ran = []
    for layer in stacks[0].layers:
        layer.register_forward_pre_hook(lambda *_: ran.append(1))
    recorded = []

    def gradients(recomputes: bool) -> list[torch.Tensor]:
        for stack in stacks:
            stack.recomputes = recomputes
        for each in predictors(model).values():
            each.trained_steps = torch.tensor(0)
        model.train().zero_grad()
        torch.manual_seed(1)
        with Tap(model, "encoder.self.1") as tap:
            loss = model(batch).square().mean()
            on_map = tap.log_weights().mean() if kind != "packed" else 0.0
            for each in predictors(model).values():  # as a loss counts them: before going back
                each.trained_steps = each.trained_steps.new_tensor(1)
            (loss + on_map).backward()
            recorded.append(len(tap.calls))
        return [loss.detach(), torch.rand(1)] + [
            p.grad.clone() for p in model.parameters() if p.grad is not None
        ]

    kept, kept_runs = gradients(False), len(ran)
    again = gradients(True)
    assert len(ran) == 3 * kept_runs and recorded == [1, 1]
    assert len(kept) == len(again) and all(map(torch.equal, kept, again))


def test_a_layer_whose_map_is_changed_is_computed_once() -> None:
    model, *_ = built(small_config("attention=rope", *MODEL[:2]), texts([2] * 6, LENGTHS))
    layer = model.reader.encoder.layers[0]
    with Intervention(model, "encoder.self.0", uniform):
        assert recomputed(layer) is layer
    assert recomputed(layer) is not layer
    with torch.no_grad():
        assert recomputed(layer) is layer


def test_maps_that_are_asked_for_are_of_examples() -> None:
    model, batch, _ = built(small_config("attention=multihead", *MODEL), texts([2] * 6, LENGTHS))
    with Tap(model, "encoder.self.0") as tap:
        assert watched(model.reader.encoder)
        model(batch)
    assert tap.weights().shape[::3] == (6, 9)
    assert not watched(model)


def test_what_counts_from_the_start_of_a_row_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        load(["attention=block", "experiment=reviews", *MODEL])
    assert str(caught.value) == (
        "attention.structure.kind: 'block' counts from the start of a row, which model.packed "
        "shares; try: model.packed=false\n"
        "  try: python train.py --cfg job   (shows every key with its value)"
    )
