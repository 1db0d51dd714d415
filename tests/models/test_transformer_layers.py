"""Several examples in one row: what comes out is what comes out without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnlab.attention.taps import Tap, watched
from attnlab.config.compose import load
from attnlab.errors import UserError
from attnlab.models.transformer_layers import Packing, in_rows
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
