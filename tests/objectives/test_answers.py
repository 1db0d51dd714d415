"""Terms on answers, against plain formulas; what every term shares."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnlab.data.batch import Batch
from attnlab.errors import UserError
from attnlab.objectives.terms import StepView
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.models.building import built, small_config, texts


def learner(*overrides: str) -> tuple[Learner, Batch]:
    config = small_config("objective=unsupervised", *overrides)
    model, batch, codec = built(config, texts([3, 4, 2], [6, 5, 4]))
    task = config.task.build(codec)
    terms = {name: term.build() for name, term in config.objective.terms.items()}
    return Learner(model, task, terms, Evaluator(task, []), config.trainer, 1, {}), batch


def right_choices(module: Learner, batch: Batch) -> Tensor:
    """The log probability of every right choice: counted positions."""
    log_p = module.model(batch).log_softmax(-1)
    gold = module.task.gold(batch)
    return log_p.gather(-1, gold.clamp_min(0)[..., None]).squeeze(-1)[gold >= 0]


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    words = ("objective/terms=focal", "objective.terms.focal.weight=0.5")
    module, batch = learner(*words, "objective.terms.task.weight=2")
    module.eval()
    loss, figures = module.losses(batch)
    assert set(figures) == {"task", "focal"}
    assert loss.item() == pytest.approx(2 * float(figures["task"]) + 0.5 * float(figures["focal"]))


def test_a_term_without_weight_is_left_out() -> None:
    module, batch = learner("objective/terms=focal", "objective.terms.task.weight=0")
    assert set(module.losses(batch)[1]) == {"focal"}


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_weighs_each_choice_by_how_wrong_it_is(gamma: float) -> None:
    module, batch = learner("objective/terms=focal", f"objective.terms.focal.gamma={gamma}")
    module.eval()
    log_p = right_choices(module, batch)
    expected = (-((1 - log_p.exp()) ** gamma) * log_p).mean()
    figures = module.losses(batch)[1]
    assert float(figures["focal"]) == pytest.approx(float(expected), rel=1e-5)
    if gamma == 0:
        assert float(figures["focal"]) == pytest.approx(float(figures["task"]), rel=1e-5)


def test_r_drop_is_a_second_pass_of_the_task_where_nothing_is_dropped() -> None:
    module, batch = learner("objective/terms=r_drop", "model.dropout=0.5")
    module.eval()
    figures = module.losses(batch)[1]
    assert float(figures["r_drop"]) == pytest.approx(float(figures["task"]), rel=1e-5)
    module.train()
    loss, figures = module.losses(batch)
    assert float(figures["r_drop"]) > float(figures["task"]) * 0.5
    loss.backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_a_task_without_choices_is_named() -> None:
    module, batch = learner("objective/terms=focal")
    nothing = torch.zeros(3)
    boxes = torch.zeros(3, 4)
    view = StepView(batch, module.model, module.task, boxes, nothing, nothing, {}, 0)
    with pytest.raises(UserError, match="task 'generate' makes no choices"):
        module.terms["focal"](view)
