"""Terms on answers: the task's own loss, and others that need no map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.taps import Tap, sites
from attnlab.data.augment import moved
from attnlab.data.batch import Batch, Padded
from attnlab.data.inputs import light
from attnlab.errors import UserError
from attnlab.objectives.terms import (
    ACTIVATIONS,
    AnswerTerm,
    StepView,
    Term,
    TermLoss,
    changed_embeddings,
)


class TaskLoss(AnswerTerm):
    """The loss of the task itself, as its package defines it."""

    def forward(self, view: StepView) -> TermLoss:
        return TermLoss(view.sums.sum(), view.counts.sum())


class Reinforce(Term):
    """The gradient of sampled maps: an example's reward is its task loss, negated.

    Score-function estimate with a moving baseline (Williams 1992; Xu et al. 2015). Applies to the
    sites whose normalizer samples keys without a gradient of its own. An example without a label
    has no reward, and is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.baseline = MovingBaseline()
        self.sampled: tuple[str, ...] = ()

    def applies_to(self, model: nn.Module) -> bool:
        self.sampled = tuple(
            site for site, attention in sites(model).items() if attention.normalizer.needs_reward
        )
        return bool(self.sampled)

    def sites(self) -> Sequence[str]:
        return self.sampled

    def count(self, batch: Batch, task: Any) -> Tensor | None:
        counts = task.counts(batch)
        return None if counts is None else (counts > 0).sum()

    def forward(self, view: StepView) -> TermLoss:
        known = view.counts > 0  # batch
        reward = -view.sums.detach()[known] / view.counts[known]
        count = known.sum()
        if not count:
            return TermLoss(view.sums.sum() * 0, count)
        taps = (view.taps[site] for site in self.sampled)
        losses = [reinforce_loss(tap, reward, self.baseline, known) for tap in taps]
        return TermLoss(torch.stack(losses).sum() * count, count)


class RDrop(AnswerTerm):
    """Symmetric KL between the choices of two passes with different dropout (Liang et al. 2021).

    The second pass also counts as another example of the task, as in the paper.
    """

    def forward(self, view: StepView) -> TermLoss:
        again = view.run_again()
        one, other = view.choices().float().log_softmax(-1), view.choices(again).log_softmax(-1)
        apart = (divergence(one, other) + divergence(other, one)) / 2  # batch x positions
        sums, _ = view.task.losses(again, view.batch)
        counted = view.task.gold(view.batch) >= 0
        return TermLoss((apart * counted).sum() + sums.sum(), counted.sum())


class LogitDistillation(AnswerTerm):
    """KL from a teacher's choices at a temperature T, times T^2 (Hinton et al. 2015)."""

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, view: StepView) -> TermLoss:
        assert view.taught is not None, "a rule of the config asks for a teacher"
        student, teacher = view.choices(), view.choices(view.taught.scores)
        if student.shape != teacher.shape:
            raise UserError(
                f"objective.teacher: its choices are {tuple(teacher.shape)}, the model's "
                f"{tuple(student.shape)}; a teacher has to answer in the same vocabulary"
            )
        tempered = [
            (each.float() / self.temperature).log_softmax(-1) for each in (teacher, student)
        ]
        apart = divergence(*tempered) * self.temperature**2  # batch x positions
        counted = view.chosen()
        return TermLoss((apart * counted).sum(), counted.sum())


class Focal(AnswerTerm):
    """-(1 - p)^gamma log p of the right choice: easy positions count less (Lin et al. 2017).

    In place of the task's loss with `objective.terms.task.weight=0`.
    """

    def __init__(self, *, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, view: StepView) -> TermLoss:
        gold = view.task.gold(view.batch)  # batch x positions
        counted = gold >= 0
        log_p = view.choices().float().log_softmax(-1)
        right = log_p.gather(-1, gold.clamp_min(0)[..., None]).squeeze(-1)
        losses = -((1 - right.exp()).clamp_min(0) ** self.gamma) * right
        return TermLoss((losses * counted).sum(), counted.sum())


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension; a choice that p cannot make (-inf) adds nothing."""
    # Filled before the product: the gradient of 0 * (-inf - -inf) is NaN.
    apart = (log_p - log_q).masked_fill(log_p.isneginf(), 0.0)
    return (log_p.exp() * apart).sum(-1)


class Baseline(Protocol):
    """What reward was to be expected, whatever was drawn; it is subtracted to lower variance."""

    def __call__(self, reward: Tensor) -> Tensor: ...


class MovingBaseline(nn.Module):
    """The running mean of the reward (Xu et al. 2015, section 4.1)."""

    mean: Tensor
    started: Tensor

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, reward: Tensor) -> Tensor:
        now = reward.detach().mean().to(self.mean)
        if self.training:
            mixed = torch.lerp(now, self.mean, self.momentum)
            self.mean.copy_(torch.where(self.started, mixed, now))
            self.started.fill_(True)
        return torch.where(self.started, self.mean, now)


def log_probability(tap: Tap, query_mask: Tensor | None = None) -> Tensor:
    """batch: the log probability of all keys drawn while tapped, over heads and queries.

    `query_mask` (batch x queries) says which queries count.
    """
    used = tap.used().detach()
    chosen = (used * tap.log_weights()).sum(-1)  # batch x heads x queries
    if query_mask is not None:
        chosen = chosen * query_mask[:, None].to(chosen.dtype)
    return chosen.sum((1, 2))


def reinforce_loss(
    tap: Tap, reward: Tensor, baseline: Baseline, known: Tensor | None = None
) -> Tensor:
    """-(reward - baseline) log p(drawn), whose gradient is that of the expected reward.

    `reward` is higher where what was drawn served better; `known` (batch) says whose it is.
    """
    reward, drawn = reward.detach(), log_probability(tap)
    drawn = drawn if known is None else drawn[known]
    return -((reward - baseline(reward)) * drawn).mean()


class SimCse(Term):
    """Contrastive loss without labels (Gao et al. 2021).

    Two passes of an example with different dropout are a positive pair, the other examples of the
    batch negatives. An example's vector is the mean of its states.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def sites(self) -> Sequence[str]:
        return (ACTIVATIONS,)

    def count(self, batch: Batch, task: Any) -> Tensor:
        return torch.tensor(len(batch))

    def forward(self, view: StepView) -> TermLoss:
        again = view.model.reader(self.again(view)).memory  # type: ignore[operator]
        pair = [F.normalize(each.mean(), dim=-1) for each in (view.taps[ACTIVATIONS].memory, again)]
        alike = pair[0].float() @ pair[1].float().T / self.temperature  # batch x batch
        count = torch.tensor(len(alike), device=alike.device)
        own = torch.arange(len(alike), device=alike.device)
        return TermLoss(F.cross_entropy(alike, own, reduction="sum"), count)

    def again(self, view: StepView) -> Batch:
        """The batch as the second pass reads it."""
        return view.batch


class Crops(SimCse):
    """The same between an example and a part of it (pictures: Chen et al. 2020, SimCLR; sounds:
    Saeed et al. 2021)."""

    def __init__(self, *, temperature: float, share: float) -> None:
        super().__init__(temperature=temperature)
        self.share = share  # least, of each side of a picture, of time, or of units

    def again(self, view: StepView) -> Batch:
        codec = view.task.codec
        part = picture_part if codec.inputs[codec.attended].form == "picture" else stretch
        inputs = dict(view.batch.inputs)
        inputs[codec.attended] = part(inputs[codec.attended], self.share)
        return replace(view.batch, inputs=inputs)


def picture_part(pictures: Padded, least: float) -> Padded:
    """A part of each picture at the size of the whole: batch x channels x height x width."""
    pixels = light(pictures.values)
    count, device = len(pixels), pixels.device
    side = least + (1 - least) * torch.rand(count, 2, device=device)  # of the part, across and down
    middle = (2 * torch.rand(count, 2, device=device) - 1) * (1 - side)
    transforms = torch.cat([torch.diag_embed(side), middle[..., None]], -1)  # count x 2 x 3
    return pictures._replace(values=moved(pixels, transforms))


def stretch(texts: Padded, least: float) -> Padded:
    """A stretch of each text or sound: batch x length (x words)."""
    values, mask = texts
    lengths = mask.sum(1, keepdim=True)  # batch x 1
    share = least + (1 - least) * torch.rand(lengths.shape, device=values.device)
    kept = (share * lengths).ceil().long()
    first = (torch.rand(lengths.shape, device=values.device) * (lengths - kept + 1)).long()
    positions = torch.arange(max(int(kept.max()), 1), device=values.device)
    real = positions < kept  # batch x positions
    shape = *real.shape, *(1,) * (values.dim() - 2)
    taken = (first + positions).clamp_max(values.shape[1] - 1).view(shape)
    values = values.gather(1, taken.expand(-1, -1, *values.shape[2:]))
    return Padded(values * real.view(shape), real)


class Mixup(AnswerTerm):
    """The loss of embeddings mixed in pairs, as much towards each label (Zhang et al. 2018).

    The share of the first is drawn for each batch. Of texts, words at the same place are mixed (Guo
    et al. 2019); the longer one goes on alone.
    """

    def __init__(self, *, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, view: StepView) -> TermLoss:
        share = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
        order = torch.randperm(len(view.batch)).to(view.batch.index.device)

        def mix(module: nn.Module, inputs: Any, memory: Any) -> Any:
            values = memory.values * memory.mask[..., None]  # batch x keys x width
            mixed = share * values + (1 - share) * values[order]
            return memory._replace(values=mixed, mask=memory.mask | memory.mask[order])

        reader: Any = view.model.reader
        with changed_embeddings(reader.embedders, mix):
            scores = view.run_again()
        sums, counts = view.task.losses(scores, view.batch)
        others, _ = view.task.losses(scores, view.batch.select(order))
        return TermLoss(share * sums.sum() + (1 - share) * others.sum(), counts.sum())
