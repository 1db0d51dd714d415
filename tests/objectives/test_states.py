"""Terms on states, against plain formulas, and what they do to a space of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attnlab.errors import UserError
from attnlab.objectives.states import (
    Center,
    LabelTerm,
    MaskedSteps,
    SupervisedContrastive,
    Triplet,
)
from attnlab.training.teacher import Teachers, TrainedTeacher
from tests.models.building import pictures, sounds
from tests.objectives.test_faithful import learner

LABELS = torch.tensor([0, 1, 0, 1, 2])


def states(count: int = 5, width: int = 4) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def test_triplets_are_the_hardest_of_the_batch() -> None:
    given, term = states(), Triplet(margin=0.5)
    found, counted = term.losses(given, LABELS)
    for i, label in enumerate(LABELS):
        apart = [float((given[i] - other).norm()) for other in given]
        same = [d for j, d in enumerate(apart) if LABELS[j] == label and j != i]
        other = [d for j, d in enumerate(apart) if LABELS[j] != label]
        assert bool(counted[i]) == bool(same)
        if same:
            expected = max(0.0, 0.5 + max(same) - min(other))
            assert float(found[i]) == pytest.approx(expected, abs=1e-5)


def test_supervised_contrastive_is_the_mean_over_partners() -> None:
    given, term = states(), SupervisedContrastive(temperature=0.5)
    found, counted = term.losses(given, LABELS)
    unit = given / given.norm(dim=1, keepdim=True)
    for i, label in enumerate(LABELS):
        others = [j for j in range(5) if j != i]
        total = sum(float((unit[i] @ unit[j] / 0.5).exp()) for j in others)
        partners = [j for j in others if LABELS[j] == label]
        assert bool(counted[i]) == bool(partners)
        logs = [float(unit[i] @ unit[j]) / 0.5 - torch.tensor(total).log() for j in partners]
        if partners:
            assert float(found[i]) == pytest.approx(-float(sum(logs)) / len(partners), abs=1e-5)


def test_centers_go_to_the_means_of_their_labels() -> None:
    term = Center(rate=0.5)
    term.register_buffer("centers", torch.zeros(3, 4))
    given = states()
    first, _ = term.losses(given, LABELS)
    torch.testing.assert_close(first, given.square().sum(1) / 2)
    for _ in range(60):
        term.losses(given, LABELS)
    means = torch.stack([given[label == LABELS].mean(0) for label in range(3)])
    torch.testing.assert_close(term.centers, means, atol=1e-3, rtol=0)
    term.eval()
    before = term.centers.clone()
    term.losses(given + 1, LABELS)
    assert torch.equal(term.centers, before)


@pytest.mark.parametrize("kind", ["center", "triplet", "supervised_contrastive"])
def test_labels_draw_apart_in_training(kind: str) -> None:
    torch.manual_seed(0)
    module, batch = learner(
        f"objective/terms={kind}",
        f"objective.terms.{kind}.weight=1",
        "objective.terms.task.weight=0",
    )
    term = module.terms[kind]
    assert isinstance(term, LabelTerm)
    labels = batch.answer.values[:, 0]

    def within() -> float:
        """Distances within labels, as a share of those between labels."""
        view, _ = module._view(batch)
        assert view.states is not None
        given = view.states.pooled.detach()
        apart = (given[:, None] - given[None]).norm(dim=-1)
        same = labels[:, None] == labels[None]
        return float(apart[same].sum() / apart[~same].mean())

    before = within()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        module.losses(batch)[0].backward()
        optimizer.step()
    assert within() < before * (1.0 if kind == "center" else 0.6)


def test_a_batch_without_partners_costs_nothing_and_has_gradients() -> None:
    for term in (Triplet(margin=1.0), SupervisedContrastive(temperature=0.1)):
        for labels in ([0], [0, 1], [0, 0]):
            given = states(len(labels)).requires_grad_()
            losses, counted = term.losses(given, torch.tensor(labels))
            (losses * counted).sum().backward()
            assert given.grad is not None
            assert given.grad.isfinite().all()


DISTILLED = ("objective/terms=state_distillation", "objective.teacher=given")


@pytest.mark.parametrize("of", ["all", "pooled"])
def test_states_like_the_teachers_cost_nothing(of: str) -> None:
    words = (*DISTILLED, f"objective.terms.state_distillation.of={of}")
    module, batch = learner(*words)
    module.teacher = TrainedTeacher(learner(*words)[0].model)
    assert float(module.losses(batch)[1]["state_distillation"]) < 1e-5
    with torch.no_grad():
        for parameter in module.teacher.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    loss, figures = module.losses(batch)
    assert float(figures["state_distillation"]) > 1e-3
    loss.backward()
    assert all(p.grad is None for p in module.teacher.model.parameters())


def test_a_wider_teacher_is_met_by_a_learned_projection() -> None:
    words = (*DISTILLED, "objective.terms.state_distillation.width=24")
    module, batch = learner(*words, "objective.terms.task.weight=0")
    module.teacher = TrainedTeacher(learner("model.dim=24")[0].model)
    assert {n for n, _ in module.named_parameters() if "project" in n and "terms" in n}
    optimizer, first = torch.optim.Adam(module.parameters(), 0.01), 0.0
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = module.losses(batch)
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.3 * first
    plain, batch = learner(*DISTILLED)
    plain.teacher = module.teacher
    with pytest.raises(UserError, match="its states are 24 wide, the model's 16; try: width: 24"):
        plain.losses(batch)


def test_several_teachers_are_their_mean() -> None:
    words = ("objective/terms=[logit_distillation,state_distillation]", "objective.teacher=given")
    words += ("objective.terms.state_distillation.width=32", "objective/terms/attention=kl")
    module, batch = learner(*words)
    teachers: Sequence[TrainedTeacher] = [TrainedTeacher(learner()[0].model) for _ in range(2)]
    with torch.no_grad():
        for parameter in teachers[1].model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    one, two = (each.view(batch, module.task, ["pooling"], True) for each in teachers)
    both = Teachers(teachers).view(batch, module.task, ["pooling"], True)
    mean = (one.scores.softmax(-1) + two.scores.softmax(-1)) / 2
    torch.testing.assert_close(both.scores.softmax(-1), mean)
    maps = (one.targets["pooling"].weights + two.targets["pooling"].weights) / 2
    torch.testing.assert_close(both.targets["pooling"].weights, maps)
    assert both.states is not None and both.states.pooled.shape == (4, 32)
    module.teacher = Teachers(teachers)
    loss, figures = module.losses(batch)
    assert {"logit_distillation", "state_distillation", "attention"} <= set(figures)
    loss.backward()


def test_mixup_is_the_loss_of_both_labels_of_mixed_embeddings() -> None:
    module, batch = learner("objective/terms=mixup", "objective.terms.mixup.alpha=0.7")
    torch.manual_seed(3)
    found = float(module.losses(batch)[1]["mixup"])
    torch.manual_seed(3)
    share = float(torch.distributions.Beta(0.7, 0.7).sample())
    order = torch.randperm(len(batch))
    assert 0.01 < share < 0.99
    assert order.tolist() != [0, 1, 2, 3]
    memory = module.model.reader.embedder(batch.inputs["text"])
    values = memory.values * memory.mask[..., None]
    mask = memory.mask | memory.mask[order]
    mixed = memory._replace(values=share * values + (1 - share) * values[order], mask=mask)
    hook = module.model.reader.embedder.register_forward_hook(lambda m, i, o: mixed)
    log_p = module.model(batch)[:, 0].log_softmax(-1)
    hook.remove()
    gold, rows = batch.answer.values[:, 0], torch.arange(4)
    expected = -(share * log_p[rows, gold] + (1 - share) * log_p[rows, gold[order]]).mean()
    assert found == pytest.approx(expected.item(), abs=1e-5)
    assert not module.model.reader.embedder._forward_hooks


def test_stretches_of_steps_are_hidden() -> None:
    torch.manual_seed(0)
    term = MaskedSteps(share=0.4, span=4, temperature=0.1)
    mask = torch.arange(200) < torch.tensor([200, 150])[:, None]
    where = torch.stack([term.where(mask) for _ in range(50)])
    assert float(where.sum() / (50 * mask.sum())) == pytest.approx(0.4, abs=0.03)
    assert not where[:, ~mask].any()
    edges = where[:, 0].int().diff(dim=1)
    begins = int((edges == 1).sum())
    assert where[:, 0].sum() / begins > 4, "stretches of at least four"


@pytest.mark.parametrize("form", ["text", "picture", "sound"])
def test_hidden_steps_are_told_apart(form: str) -> None:
    """Each picture and sound is all of one kind: what is left of it says what is hidden."""
    words = ["objective/terms=masked_steps", "objective.terms.masked_steps.span=1"]
    words += ["model=transformer", "attention=multihead", "objective.terms.task.weight=0"]
    made = None
    if form != "text":
        made = pictures(["a", "b"] * 4) if form == "picture" else sounds([2000] * 8)
        made = [replace(each, answer="ab"[i % 2]) for i, each in enumerate(made)]
        for i, each in enumerate(made):
            values: Any = each.inputs[each.attended]
            values[:] = np.sin(np.arange(values.shape[-1]) * (i + 1) / 4)
    module, batch = learner(*words, examples=made)
    term: Any = module.terms["masked_steps"]
    assert term.hidden.shape == (16,)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    torch.manual_seed(0)
    found = []
    for _ in range(60):
        loss, figures = module.losses(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(figures["masked_steps"]))
    assert sum(found[-10:]) < 0.8 * sum(found[:10])
    assert term.hidden.grad is not None and term.hidden.grad.abs().sum() > 0
