"""Which examples would teach most if somebody labelled them: active learning (Settles 2009).

Models that disagree are those of an ensemble, or one model with its dropout left on (Gal et al.
2017). Every measure is greater where an example is worth more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch
from attnlab.errors import UserError
from attnlab.explain.methods.gradients import differentiable
from attnlab.explain.subject import reader_of
from attnlab.metrics.agreement import jensen_shannon
from attnlab.models.ensemble import Member, members
from attnlab.tasks.choices import ChoiceTask
from attnlab.tasks.task import Task

PASSES = 8  # with dropout
LABELS = 3  # likeliest labels that a gradient is expected over


class Views(NamedTuple):
    """What several models make of a batch with the answers of the first."""

    probabilities: Tensor  # models x batch x decisions x choices
    real: Tensor  # batch x decisions, bool
    maps: Tensor  # models x batch x rows x keys


@contextmanager
def dropping(model: nn.Module) -> Iterator[None]:
    """While open, dropout is on and everything else as in evaluation.

    Raises:
        UserError: the model has no dropout.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0]
    if not layers:
        raise UserError(
            "--by: this model has no dropout, so that it never disagrees with itself; "
            "try: several runs, or --by entropy"
        )
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


@torch.no_grad()
def views(model: nn.Module, task: Task, batch: Batch) -> Views:
    """The batch under each model of an ensemble, or under dropout."""
    decisions = task.decide(model, batch)
    answered = replace(batch, answer=decisions)
    models = members(model, task.map)
    if len(models) > 1:
        of_models = [_alone(each, task, answered) for each in models]
    else:
        with dropping(model):
            of_models = [_alone(models[0], task, answered) for _ in range(PASSES)]
    probabilities, maps = zip(*of_models, strict=True)
    return Views(torch.stack(probabilities), decisions.mask, torch.stack(maps))


def _alone(member: Member, task: Task, batch: Batch) -> tuple[Tensor, Tensor]:
    with Tap(*member) as tap:
        outcomes = task.outcomes(member.model, batch)
    return outcomes.float().softmax(-1), tap.weights().float().mean(1)


def _over(values: Tensor, real: Tensor) -> Tensor:
    """The mean over what is real: batch."""
    return (values * real).sum(1) / real.sum(1).clamp_min(1)


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)


@torch.no_grad()
def entropy(model: nn.Module, task: Task, batch: Batch) -> Tensor:
    """How unsure each decision is, mean over an answer: batch."""
    decisions = task.decide(model, batch)
    outcomes = task.outcomes(model, replace(batch, answer=decisions))
    return _over(_entropy(outcomes.float().softmax(-1)), decisions.mask)


def bald(model: nn.Module, task: Task, batch: Batch) -> Tensor:
    """How far models that are sure disagree on answers (Houlsby et al. 2011): batch."""
    of_models = views(model, task, batch)
    apart = _entropy(of_models.probabilities.mean(0)) - _entropy(of_models.probabilities).mean(0)
    return _over(apart, of_models.real)


def map_disagreement(model: nn.Module, task: Task, batch: Batch) -> Tensor:
    """How far the maps of models lie from their mean, by Jensen-Shannon divergence: batch."""
    maps = views(model, task, batch).maps
    shares = maps / maps.sum(-1, keepdim=True).clamp_min(1e-30)
    apart = jensen_shannon(shares, shares.mean(0, keepdim=True)).mean(0)  # batch x rows
    return _over(apart, batch.target.row_mask[:, : apart.shape[1]])


def gradient_length(model: nn.Module, task: Task, batch: Batch) -> Tensor:
    """The expected length of the gradient that an answer would give (Settles et al. 2008): batch.

    Over the likeliest labels; of an answer of many decisions, over the model's own.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    lengths = []
    for index in range(len(batch)):
        one = batch.select(torch.tensor([index], device=batch.index.device))
        decisions = task.decide(model, one)
        with differentiable():
            outcomes = task.outcomes(model, replace(one, answer=decisions))
            log_p = outcomes.float().log_softmax(-1)[0]  # decisions x choices
            if len(log_p) == 1:
                chosen = log_p[0].topk(min(LABELS, int(log_p[0].isfinite().sum()))).values
            else:
                own = log_p.gather(-1, decisions.values[0, :, None])[:, 0]
                chosen = (own * decisions.mask[0]).sum()[None]
            total = 0.0
            for value in chosen:
                slopes = torch.autograd.grad(
                    -value, parameters, retain_graph=True, allow_unused=True
                )
                length = sum(float(s.square().sum()) for s in slopes if s is not None) ** 0.5
                total += length * (float(value.detach().exp()) if len(log_p) == 1 else 1.0)
        lengths.append(total)
    return torch.tensor(lengths)


@torch.no_grad()
def states(model: nn.Module, batch: Batch) -> Tensor:
    """The mean state of each input: batch x width."""
    return reader_of(model)(batch).memory.mean()


def farthest_first(vectors: Tensor, count: int) -> list[int]:
    """Places of vectors such that every other is near one of them (Sener & Savarese 2018).

    The first is the one that is nearest to the mean.
    """
    chosen = [int((vectors - vectors.mean(0)).norm(dim=1).argmin())]
    distance = (vectors - vectors[chosen[0]]).norm(dim=1)
    while len(chosen) < min(count, len(vectors)):
        distance[chosen[-1]] = -1.0
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (vectors - vectors[chosen[-1]]).norm(dim=1))
    return chosen


Measure = Callable[[nn.Module, Task, Batch], Tensor]
MEASURES: dict[str, Measure] = {
    "entropy": entropy,
    "bald": bald,
    "maps": map_disagreement,
    "gradient": gradient_length,
}
WAYS = (*MEASURES, "core_set", "random")


def require_choices(task: Task, way: str) -> None:
    """Raise a `UserError` where a way needs choices and the task makes none."""
    if way in MEASURES and not isinstance(task, ChoiceTask):
        kind = type(task).__name__.lower()
        raise UserError(f"--by: '{way}' needs choices, and '{kind}' makes none; try: --by core_set")


def greatest(values: Sequence[float], count: int) -> list[int]:
    """Places of the greatest values, the greatest first."""
    return sorted(range(len(values)), key=lambda place: -values[place])[:count]
