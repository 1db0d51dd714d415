"""Attacks on pictures and sounds: small changes along the gradient, noise and blur.

An attack changes the attended input of a batch; `ascended` moves it, within a largest change of any
value (L-inf), to where a goal is greatest: the task's loss, or how far the map has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Batch
from attnlab.data.inputs import light, within
from attnlab.explain.methods.gradients import differentiable
from attnlab.metrics.agreement import jensen_shannon
from attnlab.objectives.adversarial import PGD_REACH
from attnlab.tasks.task import Task


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a batch."""

    texts: list[str]  # its answers
    losses: Tensor  # batch: on gold
    maps: Tensor  # batch x rows of gold x keys


class Attacked:
    """A model and a batch whose attended input is changed."""

    def __init__(self, model: nn.Module, task: Task, batch: Batch, name: str) -> None:
        self.model, self.task, self.batch, self.name = model, task, batch, name
        self.values = light(batch.inputs[name].values)  # batch x ...
        self.gold = task.texts(batch.answer.values, batch)
        self.clean = self.outputs(self.values)

    def under(self, values: Tensor) -> Batch:
        """The batch with these values of the attended input."""
        changed = self.batch.inputs[self.name]._replace(values=values)
        return replace(self.batch, inputs=self.batch.inputs | {self.name: changed})

    def outputs(self, values: Tensor) -> Outputs:
        """What the model makes of the batch with these values."""
        return observed(self.model, self.task, self.under(values))

    def wrong(self, outputs: Outputs) -> Tensor:
        """Whether answers differ from gold: batch, bool."""
        pairs = zip(outputs.texts, self.gold, strict=True)
        return torch.tensor([text != gold for text, gold in pairs], device=self.values.device)

    def moved(self, maps: Tensor) -> Tensor:
        """How far maps lie from the clean ones: batch."""
        return map_distance(maps, self.clean.maps, self.batch.target.row_mask)

    def spread(self, amounts: Tensor) -> Tensor:
        """Numbers of examples in the shape of the values."""
        return amounts.view(-1, *(1,) * (self.values.dim() - 1))


def observed(model: nn.Module, task: Task, batch: Batch) -> Outputs:
    """Answers, losses and maps of a batch, without gradients."""
    with torch.no_grad():
        maps, losses = _run(model, task, batch)
        return Outputs(task.texts(task.answer(model, batch), batch), losses, maps)


def _run(model: nn.Module, task: Task, batch: Batch) -> tuple[Tensor, Tensor]:
    """Maps with the rows of gold, and the loss of each example."""
    with task.tap(model) as tap:
        scores = task.run(model, batch)
    sums, counts = task.losses(scores, batch)
    maps = task.as_gold(tap.weights().float().mean(1), scores, batch)
    return maps, sums / counts.clamp_min(1)


def map_distance(one: Tensor, other: Tensor, rows: Tensor) -> Tensor:
    """Jensen-Shannon divergence of maps, the mean over rows that exist: batch, at most log 2."""
    first, second = (m / m.sum(-1, keepdim=True).clamp_min(1e-30) for m in (one, other))
    apart = jensen_shannon(first, second)  # batch x rows
    kept = rows[:, : apart.shape[1]]
    return (apart * kept).sum(1) / kept.sum(1).clamp_min(1)


Goal = Callable[[Attacked, Tensor, Tensor], Tensor]  # maps and losses -> batch, to be made great


def answer_lost(attacked: Attacked, maps: Tensor, losses: Tensor) -> Tensor:
    """The loss on gold."""
    return losses


def map_lost(attacked: Attacked, maps: Tensor, losses: Tensor) -> Tensor:
    """How far the map has moved, less how much likelier a wrong answer has become."""
    return attacked.moved(maps) - (losses - attacked.clean.losses).clamp_min(0)


def ascended(
    attacked: Attacked, goal: Goal, size: float, steps: int, restarts: int, seed: int = 0
) -> Tensor:
    """Values of the attended input, changed by at most `size`, with the greatest goal found.

    One step without a restart is FGSM (Goodfellow et al. 2015), several from random starts are PGD
    (Madry et al. 2018). Pictures stay from 0 to 1, sounds from -1 to 1.

    Args:
        attacked: the model and the batch.
        goal: what is made great.
        size: the largest change of a value.
        steps: along the sign of the gradient.
        restarts: random starts; 0 starts from the values as they are.
        seed: of the random starts.
    """
    values = attacked.values
    random = torch.Generator().manual_seed(seed)
    best, reached = values, torch.full((len(values),), -torch.inf, device=values.device)
    step = size if steps == 1 else PGD_REACH * size / steps
    for _ in range(max(restarts, 1)):
        noise = torch.rand(values.shape, generator=random).to(values) * 2 - 1
        moved = within(values + size * noise * bool(restarts), values, size)
        for _ in range(steps):
            slope = _slope(attacked, goal, moved)
            moved = within(moved + step * slope.sign(), values, size)
        outputs = attacked.outputs(moved)
        goals = goal(attacked, outputs.maps, outputs.losses)
        if goal is answer_lost:  # a wrong answer is worth more than any loss of a right one
            goals = goals + 1e6 * attacked.wrong(outputs)
        better = goals > reached
        best = torch.where(attacked.spread(better), moved, best)
        reached = torch.where(better, goals, reached)
    return best


def _slope(attacked: Attacked, goal: Goal, values: Tensor) -> Tensor:
    with differentiable():
        leaf = values.detach().requires_grad_()
        maps, losses = _run(attacked.model, attacked.task, attacked.under(leaf))
        (slope,) = torch.autograd.grad(goal(attacked, maps, losses).sum(), leaf)
    return slope


def noisy(values: Tensor, level: float, seed: int = 0) -> Tensor:
    """With normal noise of this spread."""
    random = torch.Generator().manual_seed(seed)
    noise = level * torch.randn(values.shape, generator=random).to(values)
    return within(values + noise, values, torch.inf)


def blurred(values: Tensor, width: float) -> Tensor:
    """Pictures (batch x channels x height x width) or sounds, smoothed by a Gaussian in pixels."""
    radius = max(1, round(3 * width))
    at = torch.arange(-radius, radius + 1, device=values.device, dtype=torch.float32)
    weights = torch.exp(-(at**2) / (2 * width**2))
    weights = weights / weights.sum()
    for axis in (-1,) if values.dim() == 2 else (-1, -2):
        lines = values.movedim(axis, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        padded = F.pad(flat, (radius, radius), mode="replicate")
        values = F.conv1d(padded, weights.view(1, 1, -1)).view(lines.shape).movedim(-1, axis)
    return values


def cropped(values: Tensor, share: float) -> Tensor:
    """The middle of pictures or sounds; a share of their length is dark, or silent, at each end."""
    kept = torch.zeros_like(values)
    inside = []
    for length in values.shape[1 if values.dim() == 2 else 2 :]:
        edge = round(share * length)
        inside.append(slice(edge, length - edge))
    kept[(..., *inside)] = values[(..., *inside)]
    return kept


SERIES: dict[str, tuple[Callable[[Tensor, float], Tensor], tuple[float, ...]]] = {
    "noise": (noisy, (0.05, 0.1, 0.2, 0.4)),
    "blur": (blurred, (0.5, 1.0, 2.0, 4.0)),
    "crop": (cropped, (0.05, 0.1, 0.2, 0.3)),
}
"""Changes that no gradient guides, each with its levels."""
