"""Terms that train the predictors of `attention/structure=predicted`.

L = -(1/N) sum t log p over the N blocks of queries that count, where p is the predicted share of
each block of keys and t its share in the map to learn from. The predictor sees queries and keys cut
off from the graph: the loss changes nothing but the predictor.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from attnlab.attention.block_scores import Sides, dense_mass
from attnlab.attention.call import Call
from attnlab.attention.predicted import Predicted
from attnlab.metrics.read_blocks import Asking, gold_of_blocks, positions_of_rows, predictors
from attnlab.objectives.attention import cross_entropy
from attnlab.objectives.terms import StepView, Term, TermLoss


class BlockTerm(Term):
    """The mean over a model's predictors, their heads, and the blocks of queries that count."""

    def __init__(self) -> None:
        super().__init__()
        self.learning: dict[str, Predicted] = {}

    def applies_to(self, model: nn.Module) -> bool:
        self.learning = {
            site: each for site, each in predictors(model).items() if each.predictor is not None
        }
        for structure in self.learning.values():
            structure.requires_grad_(True)
        return bool(self.learning)

    def sites(self) -> Sequence[str]:
        return tuple(self.learning)

    def forward(self, view: StepView) -> TermLoss:
        totals, counts, held = [], [], []
        for site, structure in self.learning.items():
            for call in view.taps[site].calls:
                log_shares, sides = structure.log_shares(call)
                target = self.target(view, call, sides)
                if target is None:
                    continue
                open_ = sides.open.expand_as(log_shares)
                gold = target.expand_as(log_shares) * open_
                rows = (gold.sum(-1).amin(1) > 0) & (open_.sum(-1) > 1).any(1)  # batch x blocks
                gold = gold / gold.sum(-1, keepdim=True).clamp_min(1e-30)
                totals.append((cross_entropy(log_shares, gold).mean(1) * rows).sum())
                counts.append(rows.sum())
                chosen = open_ if call.chosen is None else call.chosen
                held.append(((gold * chosen).sum(-1).mean(1) * rows).sum())
            # a new tensor: the backward pass may compute layers once more, as they were
            structure.trained_steps = structure.trained_steps.new_tensor(view.step + 1)
        if not totals:
            zero = view.sums.new_zeros(())
            return TermLoss(zero, zero)
        counted = torch.stack(counts).sum()
        figures = {"recall": torch.stack(held).sum() / counted.clamp_min(1)}
        return TermLoss(torch.stack(totals).sum(), counted, figures)

    @abstractmethod
    def target(self, view: StepView, call: Call, sides: Sides) -> Tensor | None:
        """What each block should get, in any unit, zero in rows that do not count; None: no row.

        Broadcasts to batch x maps x query blocks x key blocks.
        """


class BlockDistillation(BlockTerm):
    """Towards what the model's own dense map has in each block (Gao et al. 2024, "SeerAttention").

    Where all blocks are read, their masses come from the forward pass; else a few queries of each
    block have their dense rows computed.
    """

    def __init__(self, *, rows: int | None, pool: Literal["mean", "most"]) -> None:
        super().__init__()
        self.rows, self.pool = rows, pool

    def target(self, view: StepView, call: Call, sides: Sides) -> Tensor:
        whole = call.chosen is None and self.pool == "mean"
        if whole and call.block_mass is not None:
            mass = call.block_mass.detach()
        else:
            mass = dense_mass(call, self.rows, most=self.pool == "most")
        if sides.causal:
            return mass
        return mass * sides.asking.any(-1)[:, None, :, None]


class BlockGold(BlockTerm):
    """Towards the gold map, summed over each block.

    A gold map whose rows are positions says what each block of queries should read. Another one
    says what is evidence: the blocks that hold it should be read by the block of the last unit, or
    by all.
    """

    def __init__(self, *, queries: Asking) -> None:
        super().__init__()
        self.queries: Asking = queries

    def target(self, view: StepView, call: Call, sides: Sides) -> Tensor | None:
        positions = positions_of_rows(view.task, view.model, view.scores, view.batch)
        gold = gold_of_blocks(view.batch.target, sides, call.keys, positions, self.queries)
        return None if gold is None else gold[:, None]
