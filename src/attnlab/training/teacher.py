"""Trained models to learn from: `TrainedTeacher`, or several of them as `Teachers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.loader import Items
from attnlab.data.target_batch import TargetBatch, regroup_maps
from attnlab.errors import UserError
from attnlab.models.memory import StateTap, tapped
from attnlab.objectives.terms import States, TeacherView
from attnlab.tasks.task import Task

Encode = Callable[[Batch], Batch]


class TrainedTeacher:
    """Not a part of the learner: its weights are in no checkpoint, and never change."""

    def __init__(self, model: nn.Module, encode: Encode | None = None) -> None:
        """`encode` gives the same examples in the teacher's own units, where these differ."""
        self.model, self.encode = model.eval().requires_grad_(False), encode

    @torch.no_grad()
    def view(
        self, batch: Batch, task: Task, sites: Sequence[str], with_states: bool = False
    ) -> TeacherView:
        """Its scores of a batch, and by site its map: the mean over heads, in every row."""
        self.model.to(batch.index.device)
        own = batch if self.encode is None else self.encode(batch)
        with ExitStack() as stack:
            taps = {site: stack.enter_context(tapped(self.model, site)) for site in sites}
            state_tap = stack.enter_context(StateTap(self.model)) if with_states else None
            scores = task.run(self.model, own)
        targets = {}
        for site, tap in taps.items():
            weights = tap.weights().float().mean(1)  # batch x queries x keys
            if tap.role != "self":
                weights = task.as_gold(weights, scores, own)
            if own is not batch:
                weights = _in_units_of(batch, own.over_words(weights))
            targets[site] = _as_target(weights, batch.target, site)
        return TeacherView(scores, targets, state_tap and state_tap.states())


class Teachers:
    """Several teachers as one: the mean of their probabilities and maps, their states together."""

    def __init__(self, teachers: Sequence[TrainedTeacher]) -> None:
        self.teachers = teachers

    def view(
        self, batch: Batch, task: Task, sites: Sequence[str], with_states: bool = False
    ) -> TeacherView:
        views = [each.view(batch, task, sites, with_states) for each in self.teachers]
        targets = {site: mean_target([each.targets[site] for each in views]) for site in sites}
        scores = task.combine([each.scores for each in views], "probabilities")
        return TeacherView(scores, targets, _side_by_side([each.states for each in views]))


class OwnUnits:
    """Training examples in the units of another codec: its tokenizer, its vocabulary."""

    def __init__(self, items: Items, codec: Codec) -> None:
        self.items, self.codec = items, codec

    def __call__(self, batch: Batch) -> Batch:
        items = [self.codec.encode(self.items.example(i), i) for i in batch.index.tolist()]
        return collate(items).to(batch.index.device)


def mean_target(targets: Sequence[TargetBatch]) -> TargetBatch:
    """The mean of several maps of the same rows and keys."""
    weights = torch.stack([each.weights for each in targets]).mean(0)
    return replace(targets[0], weights=weights)


def _side_by_side(states: Sequence[States | None]) -> States | None:
    """States as wide as those of all together."""
    present = [each for each in states if each is not None]
    if not present:
        return None
    pooled = torch.cat([each.pooled for each in present], -1)
    mask, *masks = (each.mask for each in present)
    if any(other.shape != mask.shape for other in masks):  # of other units: no state is beside one
        return States(pooled[:, None, :][:, :0], mask[:, :0], pooled)
    return States(torch.cat([each.values for each in present], -1), mask, pooled)


def _in_units_of(batch: Batch, weights: Tensor) -> Tensor:
    """Maps over words as maps over the units of a batch."""
    if batch.words is None:
        return weights
    queries, keys = ([g.reverse() for g in of] for of in (batch.words.queries, batch.words.keys))
    return regroup_maps(weights, queries, keys)


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
