"""Losses on maps against plain loops, and against the wrong implementations others shipped."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import TargetBatch, collate_targets
from attnlab.objectives.attention import (
    KL,
    MSE,
    CrossEntropy,
    Distillation,
    MapTerm,
    Relations,
    SoftIoU,
    SurePossible,
    Transfer,
)
from tests.attention.mechanisms import attention, inputs, named, role_mask
from tests.maps import random_batch
from tests.models.building import small_config

SHARED = {"site": "pooling"}
HEADS = 3
EVERY = [
    CrossEntropy(**SHARED),
    KL(**SHARED),
    MSE(**SHARED),
    SoftIoU(**SHARED),
    SurePossible(sure=0.5, **SHARED),
    Transfer(**SHARED),
    Distillation(temperature=2.0, **SHARED),
    Relations(temperature=0.1, **SHARED),
]
ZERO_FOR_GOLD = [o for o in EVERY if not isinstance(o, CrossEntropy | SurePossible)]


def name(objective: MapTerm) -> str:
    return type(objective).__name__


def log_map(logits: torch.Tensor, target: TargetBatch) -> torch.Tensor:
    """As a mechanism gives it: masked log-softmax, -inf on hidden keys: batch x H x Q x K."""
    return logits.masked_fill(~target.key_mask[:, None, None, :], -torch.inf).log_softmax(-1)


def random_logits(target: TargetBatch, seed: int = 0, heads: int = HEADS) -> torch.Tensor:
    batch, queries, keys = target.weights.shape
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, queries, keys, generator=random).requires_grad_()


def losses_by_loop(log_weights, target, row_loss) -> float:
    """The mean over annotated rows and heads of a loss of two plain rows (p, t)."""
    values = []
    for b, q in target.rows().nonzero().tolist():
        keep = target.key_mask[b]
        gold = target.weights[b, q][keep].double().numpy()
        for head in log_weights[b, :, q]:
            weights = head[keep].detach().double().exp().numpy()
            values.append(row_loss(weights, gold / gold.sum()))
    return float(np.mean(values))


def relative_entropy(t, p):
    return sum(a * math.log(a / b) for a, b in zip(t, p, strict=True) if a > 0)


def tempered_divergence(p, t, temperature=2.0):
    p, t = p ** (1 / temperature), t ** (1 / temperature)
    return temperature**2 * relative_entropy(t / t.sum(), p / p.sum())


DEFINITIONS = [
    (CrossEntropy(**SHARED), lambda p, t: -(t * np.log(p)).sum()),
    (KL(**SHARED), lambda p, t: relative_entropy(t, p)),
    (MSE(**SHARED), lambda p, t: ((p - t) ** 2).sum()),
    (SoftIoU(**SHARED), lambda p, t: 1 - np.minimum(p, t).sum() / np.maximum(p, t).sum()),
    (Transfer(**SHARED), lambda p, t: math.dist(p / np.linalg.norm(p), t / np.linalg.norm(t))),
    (Distillation(temperature=2.0, **SHARED), tempered_divergence),
]


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize(
    ("objective", "row_loss"), DEFINITIONS, ids=[name(objective) for objective, _ in DEFINITIONS]
)
def test_loss_is_the_mean_over_annotated_rows(objective, row_loss, kind):
    target = random_batch(1, kind)
    log_weights = log_map(random_logits(target), target)
    loss = objective.compare(log_weights, target)
    assert loss.value.item() == pytest.approx(
        losses_by_loop(log_weights, target, row_loss), rel=1e-5
    )
    assert loss.figures["kl"].item() == pytest.approx(
        losses_by_loop(log_weights, target, lambda p, t: relative_entropy(t, p)), rel=1e-5
    )
    assert loss.count.item() == target.rows().sum().item()


def test_relations_compare_which_rows_are_alike():
    target, temperature = random_batch(9, "soft"), 0.5
    log_weights = log_map(random_logits(target, heads=1), target)
    values = []
    for b in range(len(target.weights)):
        rows = target.rows()[b].nonzero().flatten().tolist()
        student = log_weights[b, 0, rows].detach().double().exp().numpy()
        teacher = target.distribution()[b, rows].double().numpy()
        relations = []
        for maps in (student, teacher):
            alike = np.exp(np.sqrt(maps) @ np.sqrt(maps).T / temperature)
            relations.append(alike / alike.sum(1, keepdims=True))
        values += [relative_entropy(t, s) for s, t in zip(*relations, strict=True)]
    loss = Relations(temperature=temperature, **SHARED).compare(log_weights, target)
    assert loss.value.item() == pytest.approx(np.mean(values), rel=1e-4)


@pytest.mark.parametrize("sure", [0.0, 0.3, 1.0])
def test_sure_and_possible_links_each_have_their_part(sure):
    target = random_batch(2, "sure_possible")
    log_weights = log_map(random_logits(target, heads=1), target)
    values = []
    for b, q in (target.query_mask & target.marks().any(-1)).nonzero().tolist():
        weights = log_weights[b, 0, q].detach().exp().double().numpy()
        links = target.weights[b, q].double().numpy()
        links = links / links.sum() if links.sum() else links
        to_sure = -sum(t * math.log(p) for t, p in zip(links, weights, strict=True) if t > 0)
        outside = -math.log(weights[target.marks()[b, q].numpy()].sum())
        values.append(sure * to_sure + (1 - sure) * outside)
    loss = SurePossible(sure=sure, **SHARED).compare(log_weights, target)
    assert loss.value.item() == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("objective", ZERO_FOR_GOLD, ids=name)
def test_a_perfect_map_has_no_loss(objective):
    target = random_batch(3, "soft")
    perfect = target.distribution().clamp_min(1e-30).log()[:, None]
    assert objective.compare(perfect, target).value.item() == pytest.approx(0.0, abs=1e-5)
    assert objective.compare(perfect, target).figures["kl"].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("objective", EVERY, ids=name)
def test_descent_on_any_loss_brings_the_map_to_gold(objective):
    target = random_batch(4, "sure_possible" if isinstance(objective, SurePossible) else "hard")
    logits = random_logits(target, heads=1)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = objective.compare(log_map(logits, target), target)
        loss.value.backward()
        optimizer.step()
        losses.append(loss)
    assert losses[-1].value < losses[0].value
    if not isinstance(objective, Relations):  # relations leave free where the rows look
        assert losses[-1].figures["kl"] < 0.3 * losses[0].figures["kl"]


@pytest.mark.parametrize("objective", EVERY, ids=name)
def test_gradients_are_finite_with_masked_keys_empty_rows_and_sharp_maps(objective):
    target = random_batch(5, "sure_possible")
    logits = (random_logits(target) * 80).detach().requires_grad_()
    nothing_visible = torch.zeros_like(target.key_mask)
    nothing_visible[1:] = target.key_mask[1:]  # the first example sees no key at all
    scores = logits.masked_fill(~nothing_visible[:, None, None, :], -1e9)
    log_weights = scores.log_softmax(-1).masked_fill(~nothing_visible[:, None, None, :], -torch.inf)
    loss = objective.compare(log_weights, target)
    loss.value.backward()
    assert math.isfinite(loss.value.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("objective", EVERY, ids=name)
def test_a_batch_without_gold_costs_nothing(objective):
    target = collate_targets([None, None], queries=4, keys=5)
    logits = torch.randn(2, HEADS, 4, 5, requires_grad=True)
    loss = objective.compare(logits.log_softmax(-1), target)
    loss.value.backward()
    assert loss.value.item() == 0
    assert loss.count.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("objective", EVERY, ids=name)
def test_padding_changes_nothing(objective):
    random = np.random.default_rng(6)
    marks = (random.random((4, 6)) < 0.4).astype(np.float32)
    marks[:, 0] = 1
    gold = AttentionTarget(marks, np.ones(4, bool), np.ones(6, bool))
    tight, padded = collate_targets([gold], 4, 6), collate_targets([gold], 7, 9)
    logits = random_logits(padded)
    alone = objective.compare(log_map(logits[:, :, :4, :6], tight), tight)
    within = objective.compare(log_map(logits, padded), padded)
    assert within.value.item() == pytest.approx(alone.value.item(), rel=1e-5)


def test_an_example_counts_by_its_weight():
    one, other = random_batch(7, examples=2), random_batch(8, examples=2)
    objective = CrossEntropy(**SHARED)
    log_weights = log_map(random_logits(one), one)
    full = objective.compare(log_weights, one).value
    half = TargetBatch(**{**vars(one), "weight": torch.tensor([0.5, 0.5])})
    assert objective.compare(log_weights, half).value.item() == pytest.approx(full.item() / 2)
    assert not torch.equal(one.weights, other.weights)


def test_gold_on_forbidden_keys_is_reported_and_left_out():
    marks = np.array([[1, 1, 0], [1, 1, 0]], np.float32)
    gold = AttentionTarget(marks, np.ones(2, bool), np.ones(3, bool))
    target = collate_targets([gold], 2, 3)
    causal = torch.tril(torch.ones(2, 3, dtype=torch.bool))
    log_weights = torch.zeros(1, 1, 2, 3).masked_fill(~causal, -torch.inf).log_softmax(-1)
    loss = CrossEntropy(**SHARED).compare(log_weights, target)
    assert loss.figures["unreachable"].item() == pytest.approx(0.25)  # half of one of two rows
    assert loss.value.item() == pytest.approx(math.log(2) / 2)  # 0 and log 2


@pytest.mark.parametrize("name", ["causal", "additive", "differential", "sparsemax"])
def test_a_mechanism_says_which_gold_it_cannot_reach(name: str):
    gold = AttentionTarget(np.ones((6, 6), np.float32), np.ones(6, bool), np.ones(6, bool))
    target = collate_targets([gold, gold], 6, 6)
    mechanism, states = attention(named(name), "causal"), inputs("causal")[0]
    logs = mechanism.log_weights(states, states, role_mask("causal"))
    loss = CrossEntropy(**SHARED).compare(logs, target)
    assert loss.figures["unreachable"].item() == pytest.approx(15 / 36), "what lies in the future"


def test_schedules_shape_the_weight():
    from attnlab.objectives.attention_config import CrossEntropy as Settings
    from attnlab.objectives.config import Decay, Warmup

    def term(schedule):
        return Settings(
            kind="cross_entropy", site="pooling", weight=2.0, share_power=0.0, schedule=schedule
        ).build()

    warm = term(Warmup(kind="warmup", steps=4))
    assert [warm.weight_at(step) for step in (0, 1, 3, 9)] == [0.5, 1.0, 2.0, 2.0]
    fall = term(Decay(kind="decay", start=10, steps=10, final=0.5))
    assert [fall.weight_at(step) for step in (0, 10, 15, 20, 99)] == [2.0, 2.0, 1.5, 1.0, 1.0]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_few_maps_count_less(power: float) -> None:
    """One annotated row of four, and two: the mean over them times its share to a power."""
    term = CrossEntropy(site="pooling")
    term.share_power = power
    counts = term.divisor(torch.tensor([1.0, 4.0])), term.divisor(torch.tensor([2.0, 4.0]))
    assert [1 / float(each) for each in counts] == pytest.approx([0.25**power, 0.5**power / 2])


def test_the_config_sets_how_much_less() -> None:
    config = small_config("task=classify", "objective=supervised")
    assert config.objective.terms["attention"].build().share_power == 0.5
    config = small_config(
        "task=classify", "objective=supervised", "objective.terms.attention.share_power=0"
    )
    assert config.objective.terms["attention"].build().share_power == 0
