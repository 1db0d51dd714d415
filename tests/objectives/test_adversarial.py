"""Adversarial terms: the noise is the worst of its size, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attnlab.attention.taps import Intervention
from attnlab.data.batch import Batch
from attnlab.objectives import adversarial
from attnlab.training.learner import Learner
from tests.objectives.test_answers import learner

KINDS = ("fgm", "pgd", "freelb", "vat", "attention_at", "attention_vat")


def trained(kind: str, *more: str) -> tuple[Learner, Batch]:
    module, batch = learner(f"objective/terms={kind}", *more)
    module.eval()
    return module, batch


def figures(module: Learner, batch: Batch) -> dict[str, float]:
    torch.manual_seed(0)
    return {name: float(value) for name, value in module.losses(batch)[1].items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_raises_the_loss_and_leaves_nothing_behind(kind: str) -> None:
    module, batch = trained(kind)
    before = module.model(batch)
    found = figures(module, batch)
    assert found[kind] > (1e-4 if "vat" in kind else found["task"] + 1e-3)
    torch.testing.assert_close(module.model(batch), before, atol=0, rtol=0)
    module.losses(batch)[0].backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_without_size_is_no_noise(kind: str) -> None:
    module, batch = trained(kind, f"objective.terms.{kind}.size=1e-6")
    found = figures(module, batch)
    expected = 0.0 if "vat" in kind else found["task"]
    assert found[kind] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["fgm", "pgd", "attention_at"])
def test_noise_along_the_gradient_is_worse_than_as_much_by_chance(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, batch = trained(kind)
    worst = figures(module, batch)[kind]

    def anywhere(self: adversarial.Part, slope: Tensor, step: float, most: float) -> None:
        random = torch.randn_like(slope) * (slope != 0)
        self.noise = (most * random / self.length(random)).requires_grad_()

    monkeypatch.setattr(adversarial.Part, "ascend", anywhere)
    assert worst > figures(module, batch)[kind] + 1e-3


def test_attention_at_is_one_step_of_the_logits_along_their_gradient() -> None:
    module, batch = trained("attention_at", "objective.terms.attention_at.size=0.5")
    site, moves = str(module.task.map), []

    def shifted(noise: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Any], Tensor]:
        def change(weights: Tensor, allowed: Tensor | None) -> Tensor:
            return (weights.log().clamp_min(-1e9) + noise(weights)).softmax(-1)

        return change

    def leaf(weights: Tensor) -> Tensor:
        moves.append(torch.zeros_like(weights, requires_grad=True))
        return moves[-1]

    with Intervention(module.model, site, shifted(leaf)):
        loss = module.task.losses(module.model(batch), batch)[0].sum()
    slopes = [g / g.norm(dim=-1, keepdim=True) for g in torch.autograd.grad(loss, moves)]
    worst = iter(slopes)
    with Intervention(module.model, site, shifted(lambda weights: 0.5 * next(worst))):
        expected = module.task.loss(module.model(batch), batch)
    assert figures(module, batch)["attention_at"] == pytest.approx(float(expected), rel=1e-4)
