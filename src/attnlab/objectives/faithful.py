"""Terms for maps that answers depend on: without what a map says, the answer has to get worse."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attnlab.attention.taps import MAP_CHANGES, Intervention
from attnlab.errors import UserError
from attnlab.objectives.terms import AnswerTerm, StepView, TermLoss, changed_embeddings


class MarginTerm(AnswerTerm):
    """How far the task's loss of a second, changed pass is from where it should be.

    Its rise over the loss of the model's own pass is compared with a margin, for each example.
    The own loss is a constant here: the term must not be met by answers that are bad anyway. And
    no margin asks for more than the loss of a guess: else a model that knows nothing yet would
    learn to be wrong.
    """

    def __init__(self, *, site: str, margin: float) -> None:
        super().__init__()
        self.site, self.margin = site, margin

    def sites(self) -> Sequence[str]:
        return (self.site,)

    def forward(self, view: StepView) -> TermLoss:
        with self.changed(view):
            sums, counts = view.task.losses(view.run_again(), view.batch)
        own = view.sums.detach()  # batch
        rise = sums - own
        guess = math.log(view.choices().shape[-1]) * counts
        margin = torch.minimum(self.margin * counts, (guess - own).clamp_min(0))
        missing = self.missing(rise, margin).clamp_min(0)
        risen = rise.detach().sum() / counts.sum().clamp_min(1)
        return TermLoss(missing.sum(), counts.sum(), {"rise": risen})

    @abstractmethod
    def changed(self, view: StepView) -> AbstractContextManager[Any]:
        """While open, forward passes are the changed ones."""

    def missing(self, rise: Tensor, margin: Tensor) -> Tensor:
        """What is missing, positive where there is something: batch."""
        return margin - rise


class Uninformed(MarginTerm):
    """The loss under a map that knows nothing has to be higher by the margin."""

    def __init__(self, *, site: str, margin: float, change: Literal["uniform", "permuted"]) -> None:
        super().__init__(site=site, margin=margin)
        self.change = MAP_CHANGES[change]

    def changed(self, view: StepView) -> AbstractContextManager[Any]:
        return Intervention(view.model, self.site, self.change)


class MarkedUnits(MarginTerm):
    """What is changed are the units that have most of the map.

    They are the first ones of ERASER's tests (DeYoung et al. 2020). The gradient reaches the map as
    if each unit were taken as far as its weight is of the largest (straight through).
    """

    def __init__(self, *, site: str, margin: float, share: float) -> None:
        super().__init__(site=site, margin=margin)
        self.share = share

    @contextmanager
    def changed(self, view: StepView) -> Iterator[None]:
        kept = self.kept(self.marked(view))[..., None]  # batch x keys x 1
        reader: Any = view.model.reader
        blank = reader.blank(view.batch)  # batch x keys x width

        def blend(module: nn.Module, inputs: Any, memory: Any) -> Any:
            return memory._replace(values=blank + kept * (memory.values - blank))

        with changed_embeddings([reader.embedder], blend):
            yield

    @abstractmethod
    def kept(self, marked: Tensor) -> Tensor:
        """Which units stay, of those that are marked: batch x keys, from 0 to 1."""

    def marked(self, view: StepView) -> Tensor:
        """1 for a share of the units of each example, those with most weight: batch x keys."""
        maps = view.log_map(self.site).exp().mean(1)  # batch x queries x keys
        target = view.batch.target
        real = target.key_mask  # batch x keys
        if maps.shape[2] != real.shape[1]:
            raise UserError(
                f"objective.terms: {self.site} attends to {maps.shape[2]} states, the input has "
                f"{real.shape[1]} units; allowed: a site that attends to the input"
            )
        if maps.shape[1] == target.row_mask.shape[1]:
            maps = maps * target.row_mask[..., None]
        weights = maps.sum(1).masked_fill(~real, 0.0)
        count = (real.sum(1) * self.share).ceil().long().clamp_min(1)  # batch
        rank = weights.masked_fill(~real, -1.0).argsort(1, descending=True).argsort(1)
        hard = (rank < count[:, None]).to(weights)
        soft = weights / weights.detach().amax(1, keepdim=True).clamp_min(1e-12)
        return hard + soft - soft.detach()


class Comprehensiveness(MarkedUnits):
    """The loss without the marked units has to be higher by the margin."""

    def kept(self, marked: Tensor) -> Tensor:
        return 1 - marked


class Sufficiency(MarkedUnits):
    """The loss of the marked units alone may be higher by the margin, and no more."""

    def kept(self, marked: Tensor) -> Tensor:
        return marked

    def missing(self, rise: Tensor, margin: Tensor) -> Tensor:
        return rise - margin
