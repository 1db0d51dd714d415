"""Adversarial terms: the noise is the worst of its size, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.taps import Intervention
from attnlab.data.batch import Batch
from attnlab.data.inputs import light, within
from attnlab.errors import UserError
from attnlab.objectives import adversarial
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.models.building import built, pictures, small_config
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


def of_pictures() -> tuple[Learner, Batch]:
    """A learner of three pictures with the term, and the pictures."""
    words = ("objective=unsupervised", "objective/terms=pgd_values", "dataset=mnist")
    config = small_config(*words, "task=classify", "metrics.figures=[]", "model.dim=8")
    model, batch, codec = built(config, pictures(["a", "b", "c"]))
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    return Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {}), batch


def seen_values(
    batch: Batch, module: Learner, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], float]:
    """The pictures of every forward pass of the term, and its loss."""
    values: list[Tensor] = []
    run = type(module.task).run

    def watched(self: Any, model: Any, batch: Batch) -> Any:
        values.append(light(batch.inputs["image"].values).detach())
        return run(self, model, batch)

    monkeypatch.setattr(type(module.task), "run", watched)
    found = figures(module, batch)["pgd_values"]
    monkeypatch.undo()
    return values[1:], found  # the first is that of the other terms


def test_pictures_change_within_their_size_and_the_loss_rises_from_step_to_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, batch = of_pictures()
    module.eval()
    term: Any = module.terms["pgd_values"]
    task, model = module.task, module.model
    clean = light(batch.inputs["image"].values)
    size = term.size
    seen, worst = seen_values(batch, module, monkeypatch)
    assert len(seen) == term.steps + 1
    assert all((each - clean).abs().max() <= size + 1e-6 for each in seen)
    assert all(each.min() >= 0 and each.max() <= 1 for each in seen)
    assert (seen[-1] - clean).abs().max() > 0.9 * size
    losses = [
        float(task.losses(model(under(batch, each)), under(batch, each))[0].sum()) for each in seen
    ]
    assert losses[-1] > losses[0] and worst == pytest.approx(losses[-1] / len(batch), rel=1e-5)
    module.losses(batch)[0].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_the_search_for_the_worst_values_leaves_running_statistics_alone() -> None:
    module, batch = of_pictures()
    module.train()
    layer = next(each for each in module.modules() if isinstance(each, nn.BatchNorm2d))
    means: list[Tensor] = []
    assert layer.running_mean is not None and layer.momentum == 0.1
    start = layer.running_mean.clone()
    layer.register_forward_pre_hook(lambda _, read: means.append(read[0].detach().mean((0, 2, 3))))
    figures(module, batch)
    clean, worst = means[0], means[-1]
    assert len(means) == 9  # clean, seven steps, and the worst
    kept = 0.9 * (0.9 * start + 0.1 * clean) + 0.1 * worst
    torch.testing.assert_close(layer.running_mean, kept)


def under(batch: Batch, values: Tensor) -> Batch:
    changed = batch.inputs["image"]._replace(values=values)
    return replace(batch, inputs={"image": changed})


def test_values_of_texts_are_refused() -> None:
    module, batch = trained("pgd_values")
    with pytest.raises(UserError, match="no input is a picture or a sound; try: pgd"):
        module.losses(batch)


def test_changed_values_stay_near_and_in_range() -> None:
    pixels, sound = torch.full((1, 1, 2, 2), 0.9), torch.full((1, 4), -0.9)
    assert within(pixels + 1, pixels, 0.3).allclose(torch.ones(()))
    assert within(pixels - 1, pixels, 0.3).allclose(torch.tensor(0.6))
    assert within(sound - 1, sound, 0.3).allclose(torch.tensor(-1.0))
