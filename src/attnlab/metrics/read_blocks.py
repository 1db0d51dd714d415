"""What the blocks that a structure chose hold: of the dense map, and of gold evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from attnlab.attention.block_scores import Sides, dense_mass
from attnlab.attention.call import Call
from attnlab.attention.predicted import Predicted
from attnlab.attention.taps import Tap, resolve, sites
from attnlab.data.target_batch import TargetBatch
from attnlab.metrics.figures import Figure, Values
from attnlab.metrics.pooled import PooledMetric

Choices = Sequence[tuple[Predicted, Sequence[Call]]]
Asking = Literal["last", "all"]


def predictors(model: nn.Module) -> dict[str, Predicted]:
    """The structures of a model that choose blocks, by their sites."""
    found = {site: attention.structure for site, attention in sites(model).items()}
    return {site: each for site, each in found.items() if isinstance(each, Predicted)}


@contextmanager
def recorded_choices(model: nn.Module) -> Iterator[Choices]:
    """The structures of a model that choose blocks, each with its calls while this is open."""
    with ExitStack() as stack:
        yield [
            (structure, stack.enter_context(Tap(model, site)).calls)
            for site, structure in predictors(model).items()
        ]


def gold_of_blocks(
    target: TargetBatch, sides: Sides, keys: int, positions: Tensor | None, asking: Asking
) -> Tensor | None:
    """The gold map summed over blocks: batch x query blocks x key blocks; None: of another input.

    Args:
        target: Gold maps of a batch.
        sides: What blocks are chosen from.
        keys: How many keys there are.
        positions: batch x rows or more, the query that each row of gold belongs to. None where rows
            are no positions: all that gold marks is evidence then.
        asking: Which blocks should read evidence: that of the last unit, or all.
    """
    if target.weights.shape[2] != keys:
        return None
    size, blocks = sides.key.shape[3], sides.query.shape[2]
    marked = target.weights * target.rows()[:, :, None]  # batch x rows x keys
    if positions is not None:
        block = (positions[:, : marked.shape[1]] // size)[:, :, None].expand_as(marked)
        rows = marked.new_zeros(len(marked), blocks, keys).scatter_add(1, block, marked)
    else:
        there = sides.asking.any(-1)  # batch or 1 x query blocks
        if asking == "last":
            number = there.long().cumsum(-1)
            there = there & (number == number[:, -1:])
        rows = marked.sum(1, keepdim=True) * there[:, :, None]
    return pad(rows, (0, -keys % size)).unflatten(-1, (-1, size)).sum(-1)


def positions_of_rows(task: Any, model: nn.Module, scores: Any, batch: Any) -> Tensor | None:
    """The query that each row of gold belongs to, where the task's map is of self-attention; None
    where its rows are no positions."""
    if resolve(model, task.map).attention.role != "self":
        return None
    rows = task.rows(scores, batch)
    if rows is not None:
        return rows
    gold = batch.target.row_mask  # batch x rows
    return torch.arange(gold.shape[1], device=gold.device).expand_as(gold)


class ReadBlocks(PooledMetric):
    """Means over all structures that choose blocks, their heads, and blocks of queries."""

    about = (
        Figure(
            "block_mass",
            "Share of the dense map's weight that the blocks read hold",
            uniform="share of blocks read",
        ),
        Figure(
            "block_evidence",
            "Share of gold evidence in blocks that some head read",
            uniform="share of blocks read",
        ),
        Figure("block_density", "Share of the allowed blocks that were read", None, perfect=""),
    )

    def update(self, calls: Choices, target: TargetBatch, positions: Tensor | None) -> None:
        """Add a batch; `positions` as in `gold_of_blocks`."""
        total = target.weights.new_zeros(len(target.weights), 6)
        for structure, of_site in calls:
            for call in of_site:
                if call.kept is None:  # else all that is left is read
                    total += self._count(structure, call, target, positions)
        self.keep(total)

    def _count(
        self, structure: Predicted, call: Call, target: TargetBatch, positions: Tensor | None
    ) -> Tensor:
        sides = structure.sides(call)
        mass = dense_mass(call)  # batch x maps x query blocks x key blocks
        there = mass.sum(-1, keepdim=True) > 0
        open_ = sides.open.expand_as(mass) & there
        chosen = open_ if call.chosen is None else call.chosen & there
        counts = [mass * chosen, mass, chosen, open_]
        held, whole, read, allowed = (each.flatten(1).sum(1).float() for each in counts)
        found, marked = torch.zeros_like(held), torch.zeros_like(held)
        gold = gold_of_blocks(target, sides, call.keys, positions, "last")
        if gold is not None:
            found = (gold * chosen.any(1)).flatten(1).sum(1)
            marked = gold.flatten(1).sum(1)
        return torch.stack([held, whole, found, marked, read, allowed], 1)

    def score(self, sums: Values) -> Values:
        with np.errstate(invalid="ignore"):  # no gold: not a number
            return sums[..., 0::2] / sums[..., 1::2]
