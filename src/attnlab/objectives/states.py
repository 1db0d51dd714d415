"""Terms on states: a teacher's, and how states of examples with one label lie together."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.errors import UserError
from attnlab.objectives.terms import StepView, Term, TermLoss, changed_embeddings


class StateDistillation(Term):
    """1 - cos(states, a teacher's states), as in DistilBERT (Sanh et al. 2019).

    The states are all that are attended to, or the pooled one. Where the teacher's are wider, ours
    are first projected; the projection is learned, and belongs to the term.
    """

    uses_states = True

    def __init__(self, *, of: Literal["all", "pooled"], width: int | None) -> None:
        super().__init__()
        self.of, self.width = of, width
        self.project: nn.Module = nn.Identity()

    def applies_to(self, model: nn.Module) -> bool:
        if self.width is not None:
            reader: Any = model.reader
            self.project = nn.Linear(reader.dim, self.width, bias=False)
        return True

    def forward(self, view: StepView) -> TermLoss:
        assert view.taught is not None, "a rule of the config asks for a teacher"
        own, taught = view.states, view.taught.states
        assert own is not None and taught is not None
        if self.of == "pooled":
            student, teacher = own.pooled, taught.pooled  # batch x dim
            counted = own.mask.any(1)  # batch
        else:
            student, teacher, counted = own.values, taught.values, own.mask  # batch x keys
            if counted.shape != taught.mask.shape:
                raise UserError(
                    f"objective.teacher: it has {taught.mask.shape[1]} states, the model "
                    f"{counted.shape[1]}: they read other units; try: of: pooled"
                )
        projected = self.project(student)
        if projected.shape[-1] != teacher.shape[-1]:
            raise UserError(
                f"objective.teacher: its states are {teacher.shape[-1]} wide, the model's "
                f"{projected.shape[-1]}; try: width: {teacher.shape[-1]} in the term's settings"
            )
        apart = 1 - F.cosine_similarity(projected.float(), teacher.float(), dim=-1)
        return TermLoss((apart * counted).sum(), counted.sum())


class MaskedSteps(Term):
    """Contrastive loss at masked steps (Baevski et al. 2020, "wav2vec 2.0").

    The state at a step has to be more like the embedding masked there than like those masked
    elsewhere in the batch.

    A second pass has a learned vector at hidden steps of the attended input, whatever its form:
    steps of a sound, patches of a picture, units of a text. What an empty input is embedded as, its
    positions for one, stays there, and is not asked for.
    """

    def __init__(self, *, share: float, span: int, temperature: float) -> None:
        super().__init__()
        self.share, self.span, self.temperature = share, span, temperature

    def applies_to(self, model: nn.Module) -> bool:
        reader: Any = model.reader
        self.hidden = nn.Parameter(0.1 * torch.randn(reader.width))
        self.project = nn.Linear(reader.dim, reader.width)
        return True

    def forward(self, view: StepView) -> TermLoss:
        reader: Any = view.model.reader
        blank = reader.blank(view.batch)  # batch x keys x width
        captured: list[tuple[Tensor, Tensor]] = []  # what is embedded, and where it is hidden

        def hide(module: nn.Module, inputs: Any, memory: Any) -> Any:
            where = self.where(memory.mask)  # batch x keys
            captured.append((memory.values, where))
            hidden = blank + self.hidden.to(blank)
            return memory._replace(values=torch.where(where[..., None], hidden, memory.values))

        with changed_embeddings([reader.embedder], hide):
            states = reader(view.batch).memory.values  # batch x keys x dim
        ((embedded, where),) = captured
        if states.shape[1] != embedded.shape[1]:
            raise UserError(
                "objective.terms: masked_steps needs a state for each embedded step; the encoder "
                f"makes {states.shape[1]} of {embedded.shape[1]}"
            )
        predicted = F.normalize(self.project(states[where]).float(), dim=-1)  # hidden x width
        true = F.normalize((embedded - blank)[where].float(), dim=-1)
        alike = predicted @ true.T / self.temperature  # hidden x hidden
        own = torch.arange(len(alike), device=alike.device)
        return TermLoss(F.cross_entropy(alike, own, reduction="sum"), where.sum())

    def where(self, mask: Tensor) -> Tensor:
        """Which real steps are hidden: batch x keys, bool."""
        chance = 1 - (1 - self.share) ** (1 / self.span)  # that a stretch begins at a step
        begins = torch.rand(mask.shape, device=mask.device) < chance
        reach = F.pad(begins.float(), (self.span - 1, 0))[:, None]
        return (F.max_pool1d(reach, self.span, stride=1)[:, 0] > 0) & mask


class LabelTerm(Term):
    """A term on the pooled states of the examples whose label is known."""

    uses_states = True

    def forward(self, view: StepView) -> TermLoss:
        assert view.states is not None
        labels = view.task.gold(view.batch)[:, 0]  # batch
        known = labels >= 0
        if not known.any():
            zero = view.states.pooled.sum() * 0
            return TermLoss(zero, zero.detach())
        losses, counted = self.losses(view.states.pooled[known].float(), labels[known])
        return TermLoss((losses * counted).sum(), counted.sum())

    @abstractmethod
    def losses(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example, and which of them count.

        states is examples x dim, labels examples; the loss is finite in all of them.
        """


class Center(LabelTerm):
    """|state - center|^2 / 2, where the center of its label moves along (Wen et al. 2016)."""

    centers: Tensor

    def __init__(self, *, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def applies_to(self, model: nn.Module) -> bool:
        reader: Any = model.reader
        output: Any = model.output
        self.register_buffer("centers", torch.zeros(output.out_features, reader.dim))
        return True

    def losses(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        apart = states - self.centers[labels]
        if self.training:
            moves = torch.zeros_like(self.centers).index_add(0, labels, apart.detach())
            count = labels.bincount(minlength=len(self.centers))[:, None]
            self.centers = self.centers + self.rate * moves / (1 + count)
        return apart.square().sum(-1) / 2, torch.ones_like(labels)


class Triplet(LabelTerm):
    """max(0, m + |a - p| - |a - n|) of the farthest example p with a's label and the nearest n
    with another (Schroff et al. 2015; the hardest of a batch: Hermans et al. 2017)."""

    def __init__(self, *, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def losses(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        square = (states[:, None] - states[None]).square().sum(-1)
        distance = square.clamp_min(1e-12).sqrt()  # whose gradient at 0 is finite
        same, other = _pairs(labels)
        farthest = distance.masked_fill(~same, 0.0).amax(1)
        nearest = distance.masked_fill(~other, torch.finfo(distance.dtype).max).amin(1)
        return (self.margin + farthest - nearest).clamp_min(0), same.any(1) & other.any(1)


class SupervisedContrastive(LabelTerm):
    """-mean over p with a's label of log (exp(a.p / T) / sum over all others) (Khosla et al. 2020).

    States are compared at length one.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def losses(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        states = F.normalize(states, dim=-1)
        alike = states @ states.T / self.temperature  # examples x examples
        itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
        log_p = alike.masked_fill(itself, -1e9).log_softmax(1)
        same, _ = _pairs(labels)
        count = same.sum(1)
        return -(log_p * same).sum(1) / count.clamp_min(1), count > 0


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which two examples have one label, and which have two: examples x examples."""
    same = labels[:, None] == labels[None]
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same
