"""Terms on answers: the task's own loss, and others that need no map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.probes import sites
from attnlab.attention.reinforce import MovingBaseline, reinforce_loss
from attnlab.errors import UserError
from attnlab.objectives.terms import StepView, Term, TermLoss


class TaskLoss(Term):
    """The loss of the task itself, as its package defines it."""

    def forward(self, view: StepView) -> TermLoss:
        return TermLoss(view.sums.sum(), view.counts.sum())


class Reinforce(Term):
    """The gradient of sampled maps: an example's reward is its task loss, negated.

    Score-function estimate with a moving baseline (Williams 1992; Xu et al. 2015). Applies to the
    sites whose normalizer samples keys without a gradient of its own.
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

    def forward(self, view: StepView) -> TermLoss:
        reward = -view.sums.detach() / view.counts.clamp_min(1)  # batch
        losses = [reinforce_loss(view.taps[site], reward, self.baseline) for site in self.sampled]
        count = torch.tensor(len(reward), device=reward.device)
        return TermLoss(torch.stack(losses).sum() * count, count)


class RDrop(Term):
    """Symmetric KL between the choices of two passes with different dropout (Liang et al. 2021).

    The second pass also counts as another example of the task, as in the paper.
    """

    def forward(self, view: StepView) -> TermLoss:
        again = view.run_again()
        one, other = view.choices().float().log_softmax(-1), view.choices(again).log_softmax(-1)
        apart = (_divergence(one, other) + _divergence(other, one)) / 2  # batch x positions
        sums, _ = view.task.losses(again, view.batch)
        counted = view.task.gold(view.batch) >= 0
        return TermLoss((apart * counted).sum() + sums.sum(), counted.sum())


class LogitDistillation(Term):
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
        apart = _divergence(*tempered) * self.temperature**2  # batch x positions
        counted = view.task.gold(view.batch) >= 0
        return TermLoss((apart * counted).sum(), counted.sum())


class Focal(Term):
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


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension."""
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
