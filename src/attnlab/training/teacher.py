"""`Teacher`: a trained model whose maps and choices are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError
from attnlab.models.memory import tapped
from attnlab.objectives.terms import TeacherView
from attnlab.tasks.task import Task


class Teacher:
    """Not a part of the learner: its weights are in no checkpoint, and never change."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def view(self, batch: Batch, task: Task, sites: Sequence[str]) -> TeacherView:
        """Its scores of a batch, and by site its map: the mean over heads, in every row."""
        self.model.to(batch.index.device)
        with ExitStack() as stack:
            taps = {site: stack.enter_context(tapped(self.model, site)) for site in sites}
            scores = task.run(self.model, batch)
        targets = {}
        for site, tap in taps.items():
            weights = tap.weights().float().mean(1)  # batch x queries x keys
            if tap.role != "self":
                weights = task.as_gold(weights, scores, batch)
            targets[site] = _as_target(weights, batch.target, site)
        return TeacherView(scores, targets)


def _as_target(weights: Tensor, gold: TargetBatch, selector: str) -> TargetBatch:
    keys = gold.key_mask.shape[1]
    if weights.shape[2] != keys:
        raise UserError(
            f"objective.teacher: its map '{selector}' has {weights.shape[2]} keys, the model's has "
            f"{keys}; a teacher needs patches or steps of the same size"
        )
    rows = gold.row_mask
    if rows.shape[1] != weights.shape[1]:  # a map of the whole input, whatever is answered
        rows = rows.new_ones(weights.shape[:2])
    weights = weights * gold.key_mask[:, None]
    return replace(
        gold, weights=weights, query_mask=rows, row_mask=rows, possible=None, points=None
    )
