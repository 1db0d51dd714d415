"""Terms on answers, against plain formulas; what every term shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.mask import Mask
from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch, Padded, collate
from attnlab.errors import UserError
from attnlab.objectives.answers import (
    MovingBaseline,
    divergence,
    log_probability,
    picture_part,
    reinforce_loss,
    stretch,
)
from attnlab.objectives.terms import StepView
from attnlab.training.evaluator import Evaluator
from attnlab.training.learner import Learner
from tests.attention.mechanisms import attention, inputs, named
from tests.models.building import built, small_config, texts
from tests.objectives.test_faithful import learner as classifier
from tests.objectives.test_faithful import sentences


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


def test_simcse_tells_each_example_from_the_others_of_its_batch() -> None:
    module, batch = learner("objective/terms=simcse", "objective.terms.simcse.temperature=0.1")
    module.eval()  # nothing is dropped: the vector of an example is the same twice
    vectors = F.normalize(module.model.reader(batch).memory.mean(), dim=-1)  # type: ignore[operator]
    logits = vectors @ vectors.T / 0.1
    expected = -logits.log_softmax(-1).diagonal().mean()
    assert float(module.losses(batch)[1]["simcse"]) == pytest.approx(float(expected), rel=1e-4)
    loss, _ = module.losses(batch)
    loss.backward()
    encoder = module.model.reader.encoder.parameters()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder)


def test_a_whole_crop_is_simcse() -> None:
    words = [f"objective.terms.{kind}.temperature=0.1" for kind in ("simcse", "crops")]
    module, batch = learner(
        "objective/terms=[simcse,crops]", *words, "objective.terms.crops.share=1"
    )
    module.eval()
    figures = module.losses(batch)[1]
    assert float(figures["crops"]) == pytest.approx(float(figures["simcse"]), rel=1e-4)
    module.terms["crops"].share = 0.3  # type: ignore[union-attr]
    loss, figures = module.losses(batch)
    assert float(figures["crops"]) > float(figures["simcse"])
    loss.backward()


def test_a_stretch_is_a_part_of_each_sequence() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([20, 7, 1])
    mask = torch.arange(20) < lengths[:, None]
    values = (torch.arange(20) + 100 * torch.arange(1, 4)[:, None]) * mask
    firsts, counts = set(), set()
    for _ in range(200):
        part = stretch(Padded(values, mask), 0.25)
        assert not part.values[~part.mask].any()
        for row, real, length in zip(part.values, part.mask, lengths.tolist(), strict=True):
            kept = row[real]
            assert 0.25 * length <= len(kept) <= length
            assert (kept.diff() == 1).all()
        firsts.add(int(part.values[0, 0]))
        counts.add(int(part.mask[0].sum()))
    assert min(firsts) == 100 and max(firsts) > 110 and min(counts) <= 6 and max(counts) >= 19
    sentences = torch.arange(24).view(2, 4, 3)
    part = stretch(Padded(sentences, torch.ones(2, 4, dtype=torch.bool)), 0.5)
    assert part.values.shape[2] == 3 and part.values.shape[:2] == part.mask.shape
    assert (part.values[0, 0] % 3 == torch.arange(3)).all()


def test_a_part_of_a_picture_fills_its_size() -> None:
    torch.manual_seed(0)
    across = torch.linspace(0, 1, 32).expand(8, 1, 32, 32)
    whole = picture_part(Padded(across, torch.ones(8, 1, dtype=torch.bool)), 1.0)
    torch.testing.assert_close(whole.values, across, atol=1e-5, rtol=0)
    part = picture_part(Padded(across, torch.ones(8, 1, dtype=torch.bool)), 0.25).values
    assert part.shape == across.shape
    spread = part[:, 0, 16].amax(1) - part[:, 0, 16].amin(1)
    assert ((spread > 0.2) & (spread < 1.0)).all(), "between a quarter and all of the width"
    assert spread.std() > 0.05


def test_a_task_without_choices_is_named() -> None:
    module, batch = learner("objective/terms=focal")
    nothing = torch.zeros(3)
    boxes = torch.zeros(3, 4)
    view = StepView(batch, module.model, module.task, boxes, nothing, nothing, {}, 0)
    with pytest.raises(UserError, match="task 'generate' makes no choices"):
        module.terms["focal"](view)


@pytest.mark.parametrize("name", ["hard", "reinforce"])
def test_draws_one_allowed_key_by_its_chance(name: str) -> None:
    mechanism = attention(named(name)).train()
    query, key = inputs("cross", queries=1, batch=1)
    mask = Mask(keys=torch.tensor([[True, True, True, True, False, False]]))
    chances = mechanism.log_weights(query, key, mask).exp().expand(4000, -1, -1, -1)
    many = Mask(keys=mask.keys.expand(4000, -1))
    torch.manual_seed(0)
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query.expand(4000, -1, -1), key.expand(4000, -1, -1), key, many)
    used = tap.used()
    assert (used.sum(-1) == 1).all()
    torch.testing.assert_close(used.mean(0), chances[0], atol=0.04, rtol=0)


@pytest.mark.parametrize("name", ["hard", "reinforce"])
def test_takes_the_best_key_in_evaluation(name: str) -> None:
    mechanism = attention(named(name))
    query, key = inputs("cross")
    best = mechanism.log_weights(query, key).argmax(-1)
    context = mechanism(query, key, key)
    expected = torch.stack([k[b] for k, b in zip(key, best[:, 0], strict=True)])
    torch.testing.assert_close(context, expected)


def test_straight_through_carries_a_gradient() -> None:
    mechanism = attention(named("hard")).train()
    query, key = inputs("cross")
    mechanism(query, key, key).square().sum().backward()
    assert mechanism.score.energy.grad.abs().sum() > 0


def test_reinforce_has_the_gradient_of_the_expected_reward() -> None:
    """One query, a reward for each key: against the exact gradient of sum_j p_j reward_j."""
    mechanism = attention(named("reinforce")).train()
    query, key = inputs("cross", queries=1, batch=1)
    reward = torch.linspace(-1, 1, 6).double()
    parameter = mechanism.score.energy
    expected = (mechanism.log_weights(query, key).exp()[0, 0, 0] * reward).sum()
    (exact,) = torch.autograd.grad(-expected, parameter)
    many = 20_000
    torch.manual_seed(0)
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query.expand(many, -1, -1), key.expand(many, -1, -1), key)
    got = (tap.used()[:, 0, 0] * reward).sum(-1)
    baseline = MovingBaseline()
    (found,) = torch.autograd.grad(reinforce_loss(tap, got, baseline), parameter)
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0.1)


def test_examples_without_a_label_have_no_reward() -> None:
    """One that nobody labelled moves neither the baseline nor the gradient."""
    words = ("attention=reinforce", "attention.dropout=0")
    module, batch = classifier(*words)
    whole = [replace(e, answer=None) if i == 2 else e for i, e in enumerate(sentences())]
    codec = module.task.codec
    batch = collate([codec.encode(example, i) for i, example in enumerate(whole)])
    known = collate([codec.encode(e, i) for i, e in enumerate(whole) if e.answer is not None])
    term = module.terms["reinforce"]
    assert term.count(batch, module.task) == term.count(known, module.task) == 3
    found = []
    for each in (batch, known):
        view, _ = module._view(each)
        term.baseline = MovingBaseline()
        loss = term(view)
        reward = -view.sums[view.counts > 0]
        assert loss.count == 3
        found.append(float(term.baseline.mean))
        assert found[-1] == pytest.approx(float(reward.mean()))
        drawn = log_probability(view.taps["pooling"])[view.counts > 0]
        expected = -((reward - reward.mean()) * drawn).sum()
        torch.testing.assert_close(loss.total, expected)
    nobody = collate([codec.encode(replace(e, answer=None), 0) for e in whole])
    view, _ = module._view(nobody)
    assert term(view).total == term(view).count == 0


def test_query_mask_leaves_queries_out() -> None:
    mechanism = attention(named("reinforce")).train()
    query, key = inputs("cross")
    with Tap(mechanism, "decoder.cross.0") as tap:
        mechanism(query, key, key)
    none = log_probability(tap, torch.zeros(2, 4))
    assert (none == 0).all()
    assert (log_probability(tap) < 0).all()


def test_moving_baseline_follows_the_reward() -> None:
    baseline = MovingBaseline(momentum=0.5)
    assert baseline(torch.tensor([2.0, 4.0])) == 3
    assert baseline(torch.tensor([5.0])) == 4
    baseline.eval()
    assert baseline(torch.tensor([100.0])) == 4
    assert set(baseline.state_dict()) == {"mean", "started"}


def test_choices_that_cannot_be_made_add_nothing_to_a_divergence() -> None:
    scores = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
    other = torch.tensor([[0.5, 0.0, -torch.inf]], requires_grad=True)
    apart = divergence(scores.log_softmax(-1), other.log_softmax(-1))
    p, q = scores[:, :2].softmax(-1), other[:, :2].softmax(-1)
    assert float(apart) == pytest.approx(float((p * (p / q).log()).sum()))
    for gradient in torch.autograd.grad(apart.sum(), [scores, other]):
        assert gradient.isfinite().all() and gradient[0, :2].abs().min() > 0
