"""`Teacher`: a trained model whose maps are learned from in place of gold."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError
from attnlab.models.activations import tapped
from attnlab.training.tasks import Task


class Teacher:
    """No part of the learner: its weights are in no checkpoint, and stay what they are."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def targets(
        self, batch: Batch, task: Task, selectors: Mapping[str, str]
    ) -> dict[str, TargetBatch]:
        """By name its map of the batch that a selector picks: the mean over heads, every row."""
        self.model.to(batch.index.device)
        with ExitStack() as stack:
            taps = {n: stack.enter_context(tapped(self.model, s)) for n, s in selectors.items()}
            scores = task.run(self.model, batch)
        found = {}
        for name, tap in taps.items():
            weights = tap.weights().float().mean(1)  # batch x queries x keys
            if tap.role != "self":
                weights = task.as_gold(weights, scores, batch)
            found[name] = _as_target(weights, batch.target, selectors[name])
        return found


def _as_target(weights: Tensor, gold: TargetBatch, selector: str) -> TargetBatch:
    keys = gold.key_mask.shape[1]
    if weights.shape[2] != keys:
        raise UserError(
            f"objective.teacher: its map '{selector}' has {weights.shape[2]} keys, the model's has "
            f"{keys}; a teacher has to see cells or steps of the same size"
        )
    rows = gold.row_mask
    if rows.shape[1] != weights.shape[1]:  # a map of the whole input, whatever is answered
        rows = rows.new_ones(weights.shape[:2])
    weights = weights * gold.key_mask[:, None]
    return replace(
        gold, weights=weights, query_mask=rows, row_mask=rows, possible=None, points=None
    )
