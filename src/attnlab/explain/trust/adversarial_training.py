"""A second model that answers as the first does and looks elsewhere (Wiegreffe & Pinter 2019).

Maps found example by example need not come from any model. If one model can be trained to have
them, the first one's maps are no unique explanation.
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
from attnlab.explain.trust import decided
from attnlab.explain.trust.adversary import FAR, divergence_limit
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

    Their loss, total variation less a weight times the divergence of the maps, with Jensen and
    Shannon's divergence in the place of Kullback and Leibler's, which has no upper limit.
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
    """How far its answers and its maps are from the first model's."""
    answers: list[Tensor] = []
    maps: list[Tensor] = []
    with torch.no_grad():
        for subject in subjects:
            again = replace(subject, model=adversary)
            differs = decided.changed(subject.outcomes(), again.outcomes(), subject)
            answers.append(differs)
            apart = _apart(decided.own_maps(subject).weights, decided.own_maps(again).weights)
            maps.append(decided.mean_decision(apart, subject))
    share, divergence = over_examples(answers), over_examples(maps)
    limit = over_examples([divergence_limit(subject) for subject in subjects]).mean
    same = share.mean < LITTLE and divergence.mean > FAR * limit
    says = "the map is one explanation among many" if same else "it cannot do both"
    return [
        Finding(
            "trained adversary",
            "divergence of the maps",
            divergence,
            f"A model trained to answer alike and look elsewhere has maps {divergence.mean:.2f} of "
            f"at most {limit:.2f} nats away and changes {percent(share.mean)} of the answers: "
            f"{says}.",
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
