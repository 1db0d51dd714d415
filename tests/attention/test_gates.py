"""Gates that are drawn key by key (HardKuma)."""

from __future__ import annotations

import torch

from attnlab.attention.gates import REACH, clamped
from tests.attention.mechanisms import attention, named


def test_no_gate_is_shut_for_good() -> None:
    """The trap: once every gate is shut nothing is drawn, nothing is learned, and so it stays."""
    gates = attention(named("hard_kuma")).normalizer.train()
    logits = torch.full((1, 1, 400, 30), -50.0, requires_grad=True)
    torch.manual_seed(0)
    drawn = gates(logits, None)
    open_ = drawn > 0
    assert 0.002 < float(open_.float().mean()) < 0.03, "a gate in ninety opens"
    (drawn * torch.rand_like(drawn)).sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert float(logits.grad.abs().sum()) > 0
    assert (gates.eval()(logits, None) == 0).all(), "in use they are shut"


def test_logits_within_reach_are_as_they_were() -> None:
    logits = torch.linspace(-2 * REACH, 2 * REACH, 9, requires_grad=True)
    found = clamped(logits, REACH)
    assert torch.allclose(found, logits.detach().clamp(-REACH, REACH))
    found.sum().backward()
    assert logits.grad is not None and (logits.grad == 1).all()
