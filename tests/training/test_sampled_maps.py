"""Maps that are sampled while training: the task's loss alone reaches what makes them."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.taps import sites
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.models.building import built, small_config, texts

SAMPLED = ["reinforce", "hard", "hard_kuma"]


def learner(mechanism: str, *overrides: str) -> tuple[Learner, object]:
    config = small_config(f"attention={mechanism}", "objective=unsupervised", *overrides)
    model, batch, codec = built(config, texts([3, 4], [6, 5]))
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    return Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {}), batch


@pytest.mark.parametrize("mechanism", SAMPLED)
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


def test_the_term_applies_only_where_a_map_needs_a_reward() -> None:
    assert "reinforce" in learner("reinforce")[0].terms
    assert "reinforce" not in learner("hard")[0].terms
    assert "reinforce" not in learner("additive")[0].terms


def test_without_the_term_a_sampled_map_gets_no_gradient() -> None:
    """The trap: the model trains, its loss falls, and its attention stays as it was made."""
    module, batch = learner("reinforce", "objective.terms.reinforce.weight=0")
    module.train()
    module.losses(batch)[0].backward()  # type: ignore[arg-type]
    (attention,) = sites(module.model).values()
    grads = [p.grad for p in attention.score.parameters()]
    assert all(g is None or float(g.abs().sum()) == 0 for g in grads)
