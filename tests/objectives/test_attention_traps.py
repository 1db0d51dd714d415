"""Wrong losses that others shipped, written out, and that the tests can tell them from ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import dropout, kl_div, nll_loss

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import collate_targets
from attnlab.objectives.attention import CrossEntropy

OBJECTIVE = CrossEntropy(site="pooling")


def one_hot(queries: int, keys: int, annotated: int | None = None) -> AttentionTarget:
    """Every row looks at its own place."""
    mask = np.arange(queries) < (queries if annotated is None else annotated)
    return AttentionTarget(np.eye(queries, keys, dtype=np.float32), mask, np.ones(keys, bool))


def optimise(loss_of_logits, shape, steps: int = 400) -> torch.Tensor:
    """The weights that descent on a loss of the logits arrives at."""
    logits = torch.zeros(shape, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of_logits(logits).backward()
        optimizer.step()
    return logits.detach().softmax(-1)


def test_a_softmax_over_a_softmax_cannot_get_sharp():
    keys = 20
    target = collate_targets([one_hot(1, keys)], 1, keys)

    def double_softmax(logits):
        weights = logits.softmax(-1)
        return nll_loss(weights.log_softmax(-1).flatten(0, 2), torch.tensor([0]))

    shape = (1, 1, 1, keys)
    ours = optimise(lambda logits: OBJECTIVE.compare(logits.log_softmax(-1), target).value, shape)
    assert ours[0, 0, 0, 0] > 0.99
    assert OBJECTIVE.compare(ours.log(), target).value < 0.01
    # The wrong loss stays where its second softmax can at most reach: -log(e / (e + T - 1)).
    floor = -math.log(math.e / (math.e + keys - 1))
    theirs = optimise(double_softmax, shape)
    assert double_softmax(theirs.log()).item() >= floor - 1e-4
    assert math.exp(-floor) == pytest.approx(0.125, abs=1e-3)


def test_the_log_of_a_half_precision_probability_diverges_and_log_weights_do_not():
    target = collate_targets([one_hot(1, 4)], 1, 4)
    logits = torch.tensor([[[[0.0, 30.0, 0.0, 0.0]]]], dtype=torch.float16, requires_grad=True)

    def unclamped(logits):
        return -(target.weights[:, None] * logits.softmax(-1).log()).sum()

    assert not unclamped(logits).isfinite()
    loss = OBJECTIVE.compare(logits.float().log_softmax(-1), target).value
    loss.backward()
    assert loss.item() == pytest.approx(30.0, rel=1e-4)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_weights_after_dropout_have_an_infinite_loss_and_log_weights_never():
    target = collate_targets([one_hot(8, 8)], 8, 8)
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    dropped = dropout(logits.softmax(-1), 0.5)
    after_dropout = -(target.weights[:, None] * dropped.log()).nansum() / 8
    assert after_dropout.isinf()
    assert math.isfinite(OBJECTIVE.compare(logits.log_softmax(-1), target).value.item())


def test_masked_softmax_and_masked_after_softmax_are_told_apart():
    """A mask that is lost on the way to the weights leaves mass on keys that do not exist."""
    marks = np.array([[0, 1, 0]], np.float32)
    visible = AttentionTarget(marks, np.ones(1, bool), np.array([True, True, False]))
    target = collate_targets([visible], 1, 3)
    logits = torch.tensor([[[[1.0, 1.0, 5.0]]]])
    kept = logits.masked_fill(~target.key_mask[:, None, None], -torch.inf).log_softmax(-1)
    lost = logits.log_softmax(-1)
    assert OBJECTIVE.compare(kept, target).value.item() == pytest.approx(math.log(2))
    assert OBJECTIVE.compare(lost, target).value.item() > 4


@pytest.mark.parametrize("padding", [0, 5, 50])
def test_the_mean_is_over_annotated_rows_not_over_elements_or_padding(padding):
    queries, keys, annotated = 6, 10, 3
    gold = one_hot(queries, keys, annotated)
    target = collate_targets([gold], queries + padding, keys + padding)
    uniform = torch.full((1, 1, queries + padding, keys + padding), -torch.inf)
    uniform[..., :keys] = -math.log(keys)
    ours = OBJECTIVE.compare(uniform, target)
    assert ours.value.item() == pytest.approx(math.log(keys))
    assert ours.count.item() == annotated
    gold_rows = target.weights * target.query_mask[..., None]
    element_mean = kl_div(uniform.clamp_min(-1e4)[:, 0], gold_rows, reduction="none").mean()
    assert element_mean.item() < 0.2 * ours.value.item()


def test_cross_entropy_alone_does_not_tell_how_near_gold_is():
    """Soft gold: a perfect map has cross-entropy H(t), which only L - H(t) shows as perfect."""
    weights = np.array([[0.25, 0.25, 0.5]], np.float32)
    gold = AttentionTarget(weights, np.ones(1, bool), np.ones(3, bool), kind="soft")
    target = collate_targets([gold], 1, 3)
    perfect = OBJECTIVE.compare(torch.tensor(weights).log()[None, None], target)
    assert perfect.value.item() == pytest.approx(1.5 * math.log(2))
    assert perfect.figures["kl"].item() == pytest.approx(0.0, abs=1e-6)


def test_gates_that_are_all_open_are_no_answer() -> None:
    """Weights that are not shares (sigmoid): -log p alone is least where every gate stands open."""
    keys = 20
    target = collate_targets([one_hot(3, keys)], 3, keys)
    gold = target.weights[:, None]  # 1 x 1 x queries x keys
    all_open, right = torch.zeros_like(gold), torch.where(gold > 0, 0.0, -20.0)
    assert float(-(gold * all_open).sum()) == 0, "what the formula alone says of open gates"
    assert float(OBJECTIVE.compare(all_open, target).value) == pytest.approx(math.log(keys))
    assert float(OBJECTIVE.compare(right, target).value) == pytest.approx(0, abs=1e-6)
    lost = torch.where(gold > 0, math.log(0.5), -20.0)  # half of the mass went nowhere (a sink)
    assert float(OBJECTIVE.compare(lost, target).value) == pytest.approx(math.log(2), abs=1e-6)


def test_a_row_without_keys_has_a_finite_gradient() -> None:
    target = collate_targets([one_hot(2, 4)], 2, 4)
    logits = torch.full((1, 1, 2, 4), -torch.inf).requires_grad_()
    OBJECTIVE.compare(logits, target).value.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
