"""The loss of choices, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from attnlab.attention.kernels import native
from attnlab.tasks import choice_loss as module
from attnlab.tasks.choice_loss import NOT_COUNTED, choice_loss


def both(
    scores: torch.Tensor, gold: torch.Tensor, smoothing: float
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Losses and slopes, ours and PyTorch's, of rows that matter differently."""
    weights = torch.linspace(0.5, 2, len(scores), dtype=torch.float64)
    found = []
    for ours in (True, False):
        leaf = scores.clone().requires_grad_()
        losses = (
            choice_loss(leaf, gold, smoothing)
            if ours
            else F.cross_entropy(
                leaf.double(),
                gold,
                reduction="none",
                ignore_index=NOT_COUNTED,
                label_smoothing=smoothing,
            )
        )
        (losses * weights).sum().backward()
        assert leaf.grad is not None
        found.append((losses.detach().double(), leaf.grad.double()))
    return found


@given(
    rows=st.integers(0, 12),
    choices=st.integers(1, 40),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    wide=st.floats(0.1, 80),
    seed=st.integers(0, 9999),
)
def test_loss_and_slope_are_pytorchs(
    rows: int, choices: int, smoothing: float, wide: float, seed: int
) -> None:
    torch.manual_seed(seed)
    gold = torch.randint(0, choices, (rows,))
    gold[torch.rand(rows) < 0.3] = NOT_COUNTED
    ours, theirs = both(wide * torch.randn(rows, choices), gold, smoothing)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-6 * max(1, wide))


KERNEL = pytest.param(
    0, marks=pytest.mark.skipif(native.library() is None, reason="needs a C compiler"), id="kernel"
)


@pytest.mark.parametrize("piece", [KERNEL, pytest.param(1 << 30, id="pieces")])
@pytest.mark.parametrize("choices", [1, 3, 16, 50, 1000, 1031])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threads", [1, 2])
def test_many_choices(
    piece: int, choices: int, smoothing: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(choices)
    scores, gold = 30 * torch.randn(500, choices), torch.randint(0, choices, (500,))
    gold[::7] = NOT_COUNTED
    ours, theirs = both(scores, gold, smoothing)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("piece", [KERNEL, pytest.param(1 << 30, id="pieces")])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 20, 41])
def test_a_score_that_is_no_number_is_not_hidden(
    piece: int, number: float, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    scores = torch.zeros(3, 42)
    scores[1, place] = number
    losses = choice_loss(scores, torch.tensor([1, 2, 3]))
    assert losses.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("piece", [1, 50, 700, 1 << 20])
def test_the_size_of_pieces_changes_nothing(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    scores, gold = torch.randn(30, 50), torch.randint(0, 50, (30,))
    monkeypatch.setattr(native, "library", lambda: None)
    whole = choice_loss(scores, gold, 0.1)
    monkeypatch.setattr(module, "PIECE", piece)
    assert torch.equal(choice_loss(scores, gold, 0.1), whole)


@pytest.mark.parametrize("piece", [KERNEL, pytest.param(1 << 30, id="pieces")])
def test_a_choice_that_is_out_of_the_question_has_no_slope(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    scores = torch.tensor([[1.0, -torch.inf, 2.0]])
    ours, theirs = both(scores, torch.tensor([2]), 0.0)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    assert ours[1][0, 1] == 0 and torch.isfinite(ours[1]).all()


def test_slopes_come_in_the_precision_of_scores_and_losses_in_full() -> None:
    scores = torch.randn(4, 9, dtype=torch.bfloat16, requires_grad=True)
    losses = choice_loss(scores, torch.arange(4))
    assert losses.dtype == torch.float32
    losses.sum().backward()
    assert scores.grad is not None and scores.grad.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(choice_loss(scores, torch.arange(4)), losses)
