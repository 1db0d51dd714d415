"""Maps that are drawn while training: the task's loss alone reaches what makes them."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.probes import sites
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.models.building import built, small_config, texts

DRAWN = ["reinforce", "hard", "hard_kuma"]


def learner(mechanism: str, *overrides: str) -> tuple[Learner, object]:
    config = small_config(f"attention={mechanism}", "objective=unsupervised", *overrides)
    model, batch, codec = built(config, texts([3, 4], [6, 5]))
    task = config.task.build(codec)
    return Learner(model, task, {}, Evaluator(task, []), config.trainer, 1, {}), batch


@pytest.mark.parametrize("mechanism", DRAWN)
def test_gradient_reaches_the_score(mechanism: str) -> None:
    module, batch = learner(mechanism)
    (attention,) = sites(module.model).values()
    torch.manual_seed(0)
    module.train()
    for _ in range(2):  # the first reward is its own baseline
        module.zero_grad()
        module.losses(batch)[0].backward()  # type: ignore[arg-type]
    gradients = [p.grad for p in attention.score.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_reward_is_asked_for_only_where_it_is_needed() -> None:
    assert learner("reinforce")[0].baseline is not None
    assert learner("hard")[0].baseline is None
    assert learner("additive")[0].baseline is None


def test_without_reward_a_drawn_map_gets_no_gradient() -> None:
    """The trap: the model trains, its loss falls, and its attention stays as it was made."""
    module, batch = learner("reinforce")
    module.train()
    module.baseline = None
    module.losses(batch)[0].backward()  # type: ignore[arg-type]
    (attention,) = sites(module.model).values()
    grads = [p.grad for p in attention.score.parameters()]
    assert all(g is None or float(g.abs().sum()) == 0 for g in grads)
