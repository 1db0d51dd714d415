"""Adversaries: other maps, and other models, that decide alike.

Jain & Wallace 2019 search for a map of each example. Such a map need not come from any model;
Wiegreffe & Pinter 2019 train a second model with the same answers and other maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from attnlab.attention.taps import Given, Tap
from attnlab.config.evaluation import AdversarialTraining, Adversary
from attnlab.data.batch import Batch
from attnlab.explain import changed_maps
from attnlab.explain.findings import LITTLE, Finding, over_examples, percent
from attnlab.explain.methods.gradients import differentiable
from attnlab.explain.subject import Subject
from attnlab.metrics.agreement import jensen_shannon
from attnlab.tasks.task import Task

FAR = 0.5  # share of the possible divergence beyond which a map counts as different
PENALTY = 500.0  # of what exceeds epsilon, beside the divergence (Jain & Wallace 2019)


def adversarial_maps(subjects: Sequence[Subject], settings: Adversary) -> list[Finding]:
    """The farthest maps with the same answers, searched for each example (Jain & Wallace 2019)."""
    reached = torch.cat([divergence_reached(subject, settings) for subject in subjects])
    limits = torch.cat([divergence_limit(subject) for subject in subjects])
    far = float((reached > FAR * limits).double().mean())
    says = (
        "the map is one explanation among many"
        if far > 0.5
        else "few other maps would explain these answers"
    )
    return [
        Finding(
            "adversarial",
            "divergence with the same answers",
            over_examples([reached]),
            f"For {percent(far)} of the examples a map that is far from this one (over half of the "
            f"possible divergence) gives the same answer: {says}.",
            known={"limit": float(limits.mean())},
        )
    ]


@torch.no_grad()
def divergence_limit(subject: Subject) -> Tensor:
    """The greatest divergence of any map from the model's own: batch.

    The divergence is convex: the farthest map has all weight on the key with the least.
    """
    own = changed_maps.own_maps(subject)
    base = own.weights / own.weights.sum(-1, keepdim=True).clamp_min(1e-30)
    apart = jensen_shannon(_least(own), base).mean(1)  # batch x queries
    return changed_maps.mean_decision(apart, subject)


def divergence_reached(subject: Subject, settings: Adversary) -> Tensor:
    """The mean Jensen-Shannon divergence of the farthest maps of two searches: batch.

    Only steps count whose decisions all stay within epsilon in total variation: the result is
    a lower bound of what is possible.
    """
    own = changed_maps.own_maps(subject)
    best = own.weights.new_zeros(len(subject))
    with differentiable(), _frozen_parameters(subject), changed_maps.inputs_read_once(subject):
        for start in (_near(own), _opposite(own)):
            best = torch.maximum(best, _search(subject, own, start, settings))
    return best


def _search(
    subject: Subject, own: changed_maps.OwnMaps, start: Tensor, settings: Adversary
) -> Tensor:
    """The greatest divergence on the path of Adam on the map's logits: batch."""
    whole = own.weights.sum(-1, keepdim=True).clamp_min(1e-30)
    base = own.weights / whole  # batch x heads x queries x keys
    best = base.new_zeros(len(subject))
    answers = subject.outcomes().detach()
    logits = start.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=settings.rate)
    for _ in range(settings.steps):
        maps = logits.masked_fill(~own.allowed, -1e9).softmax(-1)
        apart = jensen_shannon(maps, base).mean(1)  # batch x queries
        divergence = changed_maps.mean_decision(apart, subject)
        other = changed_maps.under(subject, Given(maps * whole))
        moved = subject.task.distance(answers, other) * subject.decisions
        same = (moved <= settings.epsilon).all(1)
        best = torch.where(same & (divergence > best), divergence.detach(), best)
        too_far = (moved - settings.epsilon).clamp_min(0).sum(1)
        optimizer.zero_grad()
        (PENALTY * too_far - divergence).sum().backward()
        optimizer.step()
    return best


def _near(own: changed_maps.OwnMaps) -> Tensor:
    """The model's own map, where the divergence has no slope, with noise."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(own.weights.shape, generator=random).to(own.weights)
    return own.weights.clamp_min(1e-4).log() + noise


def _opposite(own: changed_maps.OwnMaps) -> Tensor:
    """Nearly all weight on the key with the least."""
    return 10 * _least(own)


def _least(own: changed_maps.OwnMaps) -> Tensor:
    """All weight on the key with the least."""
    least = own.weights.masked_fill(~own.allowed, torch.inf).argmin(-1, keepdim=True)
    return torch.zeros_like(own.weights).scatter(-1, least, 1.0)


@contextmanager
def _frozen_parameters(subject: Subject) -> Iterator[None]:
    """Without gradients of the model's parameters."""
    trainable = [p for p in subject.model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def train_adversary(
    task: Task,
    base: nn.Module,
    fresh: nn.Module,
    batches: Iterator[Batch],
    settings: AdversarialTraining,
) -> nn.Module:
    """Train `fresh` to give the answers of `base` with other maps.

    The paper's loss, total variation less a weight times the divergence of the maps, with the
    Jensen-Shannon divergence in place of the Kullback-Leibler divergence, which has no upper limit.
    """
    base.eval()
    fresh.train()
    optimizer = torch.optim.Adam(fresh.parameters(), lr=settings.rate)
    for _, batch in zip(range(settings.steps), batches, strict=False):
        loss = _loss(task, base, fresh, batch, settings.divergence)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(fresh.parameters(), 1.0)
        optimizer.step()
    return fresh.eval()


def other_model(subjects: Sequence[Subject], adversary: nn.Module) -> list[Finding]:
    """How much its answers and its maps differ from the first model's."""
    answers: list[Tensor] = []
    maps: list[Tensor] = []
    with torch.no_grad():
        for subject in subjects:
            again = replace(subject, model=adversary)
            differs = changed_maps.changed(subject.outcomes(), again.outcomes(), subject)
            answers.append(differs)
            own, other = (changed_maps.own_maps(each).weights for each in (subject, again))
            apart = _apart(own, other)
            maps.append(changed_maps.mean_decision(apart, subject))
    share, divergence = over_examples(answers), over_examples(maps)
    limit = over_examples([divergence_limit(subject) for subject in subjects]).mean
    same = share.mean < LITTLE and divergence.mean > FAR * limit
    says = "the map is one explanation among many" if same else "it cannot do both"
    return [
        Finding(
            "trained adversary",
            "divergence of the maps",
            divergence,
            f"A model trained for the same answers and other maps has maps "
            f"{divergence.mean:.2f} of at most {limit:.2f} nats away and changes "
            f"{percent(share.mean)} of the answers: {says}.",
            {"limit": limit},
        ),
        Finding("trained adversary", "answers changed", share),
    ]


def _loss(task: Task, base: nn.Module, fresh: nn.Module, batch: Batch, divergence: float) -> Tensor:
    with torch.no_grad(), Tap(base, task.map) as tap:
        answers = task.outcomes(base, batch)
        own = tap.weights()
    with Tap(fresh, task.map) as tap:
        others = task.outcomes(fresh, batch)
        apart = _apart(own, tap.weights())
    real = batch.answer.mask
    moved = task.distance(answers, others)
    return ((moved - divergence * apart) * real).sum() / real.sum().clamp_min(1)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Divergence of the maps, the mean over heads: batch x queries."""
    first, second = (w / w.sum(-1, keepdim=True).clamp_min(1e-30) for w in (one, other))
    return jensen_shannon(first, second).mean(1)
