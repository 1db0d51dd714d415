"""`Term`: one part of the loss. The loss of a step is the weighted sum of its terms.

A term sees a batch as `StepView` and returns a sum and a count, not a mean: the learner divides by
the count over all processes, and over accumulated batches where the term's `count` knows it before
the forward pass. A term of your own is a class and a YAML:

    @register("term", "confidence")
    class Confidence(Term):
        def forward(self, view: StepView) -> TermLoss:
            entropy = torch.distributions.Categorical(logits=view.choices()).entropy()
            return TermLoss(-entropy.sum(), torch.tensor(entropy.numel()))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError

ACTIVATIONS = "activations"  # selects the states that are attended to, as if they were a map


class Schedule(Protocol):
    """How the weight of a term changes: factors between 0 and 1."""

    def at(self, step: int) -> float:
        """The factor at this training step, the first being 0."""
        ...


class Constant:
    """The same weight throughout."""

    def at(self, step: int) -> float:
        return 1.0


class Warmup:
    """From nothing to the full weight, in a straight line."""

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def at(self, step: int) -> float:
        return min(1.0, (step + 1) / self.steps)


class Decay:
    """The full weight first, then in a straight line to a part of it."""

    def __init__(self, *, start: int, steps: int, final: float) -> None:
        self.start, self.steps, self.final = start, steps, final

    def at(self, step: int) -> float:
        passed = min(1.0, max(0.0, (step - self.start) / self.steps))
        return 1.0 - passed * (1.0 - self.final)


@dataclass(frozen=True)
class TermLoss:
    """What a term says of one batch, before its weight."""

    total: Tensor  # scalar: the sum to minimise
    count: Tensor  # scalar: how many summands count; or what the term's `divisor` reads
    figures: Mapping[str, Tensor] = field(default_factory=dict)  # scalars to log beside it

    @property
    def value(self) -> Tensor:
        """The mean of this batch alone; 0 where nothing counts."""
        return self.total / self.count.clamp_min(1)


class OpenTap(Protocol):
    """The maps of one site during a forward pass, as `attention.taps.Tap` has them."""

    role: Any

    def weights(self) -> Tensor: ...

    def log_weights(self) -> Tensor: ...


@contextmanager
def changed_embeddings(
    embedders: Iterable[nn.Module], change: Callable[[nn.Module, Any, Any], Any]
) -> Iterator[None]:
    """While open, a forward hook changes the `Memory` that each embedder returns."""
    hooks = [embedder.register_forward_hook(change) for embedder in embedders]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class States(NamedTuple):
    """What a model makes of its input before it answers."""

    values: Tensor  # batch x keys x dim: what is attended to
    mask: Tensor  # batch x keys, bool: which of them are real
    pooled: Tensor  # batch x dim: the context that the head answers from, or the mean state


@dataclass(frozen=True)
class TeacherView:
    """The same batch as a teacher sees it."""

    scores: Any  # as `task.run` returns them
    targets: Mapping[str, TargetBatch]  # its maps in place of gold, by site
    states: States | None = None  # set if the student's view has them


class Teacher(Protocol):
    """A trained model to learn from."""

    def view(
        self, batch: Batch, task: Any, sites: Sequence[str], with_states: bool
    ) -> TeacherView: ...


@dataclass
class StepView:
    """What a term may use of one forward pass over a batch while training."""

    batch: Batch
    model: nn.Module
    task: Any  # the `Task`: losses, choices, the order of gold's rows
    scores: Any  # what `task.run(model, batch)` returned
    sums: Tensor  # batch: the task's loss of each example, summed over its positions
    counts: Tensor  # batch: how many positions those are
    taps: Mapping[str, Any]  # open taps by site, of the sites that terms asked for
    step: int  # optimizer steps so far
    teacher: Teacher | None = None
    states: States | None = None  # set if a term has `uses_states`

    def log_map(self, site: str) -> Tensor:
        """Log-weights of a site, batch x heads x queries x keys; the rows are those of gold."""
        tap: OpenTap = self.taps[site]
        log_weights = tap.log_weights()
        if tap.role == "self":  # whose rows are positions of the input, not answers
            return log_weights
        return self.task.as_gold(log_weights, self.scores, self.batch)

    def target(self, site: str) -> TargetBatch:
        """The map to learn at a site: the teacher's where there is a teacher, else gold."""
        return self.batch.target if self.taught is None else self.taught.targets[site]

    @cached_property
    def taught(self) -> TeacherView | None:
        """The batch as the teacher sees it: one forward pass of the teacher, when asked for."""
        if self.teacher is None:
            return None
        with_states = self.states is not None
        return self.teacher.view(self.batch, self.task, tuple(self.taps), with_states)

    def run_again(self) -> Any:
        """Scores of a second forward pass, with other dropout."""
        return self.task.run(self.model, self.batch)

    def chosen(self) -> Tensor:
        """Where choices are made, also of examples whose label nobody knows.

        batch x positions, bool.
        """
        unlabelled = ~self.batch.answer.mask.any(1, keepdim=True)
        return (self.task.gold(self.batch) >= 0) | unlabelled

    def choices(self, scores: Any = None) -> Tensor:
        """Logits of the task's choices, batch x positions x choices; `scores` default to ours."""
        scores = self.scores if scores is None else scores
        logits = getattr(scores, "scores", scores)
        if not isinstance(logits, Tensor) or logits.dim() != 3:
            name = type(self.task).__name__.lower()
            raise UserError(f"objective.terms: task '{name}' makes no choices for a term to use")
        return logits


class Term(nn.Module, ABC):
    """A part of the loss. May hold parameters, which are then trained with the model."""

    weight: float = 1.0
    schedule: Schedule = Constant()
    uses_states: ClassVar[bool] = False  # whether `StepView.states` is recorded for it

    def weight_at(self, step: int) -> float:
        """The factor of this term at a training step."""
        return self.weight * self.schedule.at(step)

    def applies_to(self, model: nn.Module) -> bool:
        """Whether the term has anything to do for this model; asked once."""
        return True

    def sites(self) -> Sequence[str]:
        """The sites whose maps it uses, found in `StepView.taps`."""
        return ()

    def count(self, batch: Batch, task: Any) -> Tensor | None:
        """The count of its loss without a teacher, where a batch alone tells it."""
        return None

    def divisor(self, count: Tensor) -> Tensor:
        """What the sum is divided by, where `count` is that of all processes and batches."""
        return count

    @abstractmethod
    def forward(self, view: StepView) -> TermLoss:
        """Its loss of one batch."""


class AnswerTerm(Term):
    """A term whose loss is a sum over what the task predicts."""

    def count(self, batch: Batch, task: Any) -> Tensor | None:
        counts = task.counts(batch)
        return None if counts is None else counts.sum()
