"""A second model with the same answers and other maps (Wiegreffe & Pinter 2019).

Adversarial maps of single examples need not come from any model. If a model can be trained to have
other maps for all examples, those of the first are no unique explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from attnlab.attention.probes import Tap
from attnlab.config.explain import AdversarialTraining
from attnlab.data.batch import Batch
from attnlab.explain.subject import Subject
from attnlab.explain.trust import changed_maps
from attnlab.explain.trust.adversarial_maps import FAR, divergence_limit
from attnlab.explain.trust.findings import LITTLE, Finding, over_examples, percent
from attnlab.metrics.divergence import jensen_shannon
from attnlab.tasks.task import Task


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
