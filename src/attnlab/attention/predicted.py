"""`Predicted`: a structure that reads the blocks of keys which a light predictor chooses.

Queries and keys are cut in blocks. For each head and each block of queries the predictor scores all
blocks of keys, and the best ones are read. It compares blocks, at about 1 / size^2 of the cost of a
map, or positions. The choice has no gradient: the predictor learns by a loss of its own
(`attnlab.objectives.predictors`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.block_predictors import BlockPredictor, Indexer, Learned
from attnlab.attention.block_scores import NEVER, WAYS, Sides
from attnlab.attention.blocks import Blocks, blocks_of, count, real_blocks
from attnlab.attention.call import Call
from attnlab.attention.mask import Causal
from attnlab.attention.parts import Shape, Structure
from attnlab.attention.tensors import at_least_fp32, full_precision


class Predicted(Structure):
    """The blocks that a predictor chooses, up to a share of all, or until they hold a share of the
    predicted mass (the gate of Gao et al. 2024, "SeerAttention", with positions).

    With a causal mask a block of queries is represented by the last `block` queries up to its
    first one, and its own block of keys is always read, so that no choice depends on the future.
    """

    trained_steps: Tensor  # set by the losses that train the predictor

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        shape: Shape,
        *,
        by: str,
        block: int,
        density: float,
        mass: float | None,
        sink: int,
        local: int,
        width: int,
        index_heads: int,
        dense_steps: int,
        selection: str,
    ) -> None:
        super().__init__(shape)
        self.size = self.block_size = block
        self.recent = 2 * block - 2  # from the first of a block to the last of the next one
        self.density, self.mass = density, mass
        self.sink, self.local, self.dense_steps = sink, local, dense_steps
        self.by = by
        self.predictor: BlockPredictor | None = None
        if by == "learned":
            self.predictor = Learned(shape, width)
        elif by == "indexer":
            self.predictor = Indexer(shape, width, index_heads)
        self.straight = selection == "straight" and self.predictor is not None
        self.requires_grad_(self.straight)  # else until a loss trains it
        self.register_buffer("trained_steps", torch.zeros((), dtype=torch.long))

    @property
    def dense(self) -> bool:
        """Whether all blocks are read, as in the first steps of training."""
        return self.dense_steps > 0 and int(self.trained_steps) < self.dense_steps

    @torch.no_grad()
    def choose(self, call: Call) -> Tensor | None:
        """The blocks to read: batch x maps x query blocks x key blocks; None reads all.

        Of a cache that evicts keys all that is left is read.
        """
        if self.dense or call.kept is not None:
            return None
        log_shares, sides = self.log_shares(call)
        open_, distance = sides.open.expand_as(log_shares), sides.distance
        near = distance.abs() < max(self.local, int(sides.causal))
        first = torch.arange(log_shares.shape[-1], device=open_.device) < self.sink
        always = (near | first) & open_
        budget = (self.density * open_.sum(-1, keepdim=True) - 1e-6).ceil()  # ... x blocks x 1
        budget = torch.maximum(budget, always.sum(-1, keepdim=True)).long()
        order = (log_shares + 1e6 * always).masked_fill(~open_, -torch.inf)
        best, index = order.topk(max(int(budget.max()), 1), sorted=True)
        taken = torch.arange(best.shape[-1], device=best.device) < budget
        if self.mass is not None:
            share = log_shares.exp().gather(-1, index)
            taken &= (share.cumsum(-1) - share < self.mass) | always.gather(-1, index)
        chosen = torch.zeros_like(open_).scatter(-1, index, taken)
        return chosen & open_

    def log_shares(self, call: Call) -> tuple[Tensor, Sides]:
        """The logarithm of each block's predicted share, batch x maps x query blocks x key blocks,
        and what it was predicted from."""
        sides = self.sides(call)
        with full_precision(call.query):
            score = WAYS[self.by] if self.predictor is None else self.predictor
            scores = score(sides, call)
        return scores.masked_fill(~sides.open, NEVER).log_softmax(-1).clamp_min(NEVER), sides

    def logit_bias(self, call: Call) -> Tensor | None:
        """Zero, with the gradient that the log shares of the chosen blocks would have as a bias: a
        straight-through estimate (Bengio, Leonard, Courville 2013)."""
        if not (self.straight and self.training) or call.chosen is None:
            return None
        log_shares, _ = self.log_shares(call.whole or call)
        return self._of_pairs(log_shares - log_shares.detach(), call)

    def _of_pairs(self, of_blocks: Tensor, call: Call) -> Tensor:
        """batch x maps x query blocks x key blocks -> batch x maps x queries x keys."""
        rows = of_blocks[
            :, :, call.positions // self.size - (call.whole or call).start // self.size
        ]
        return rows.repeat_interleave(self.size, -1)[..., : call.keys]

    def sides(self, call: Call) -> Sides:
        """Queries and keys in blocks of positions; see `Sides`."""
        size, causal = self.size, Causal() in call.mask.rules
        first = call.start // size
        last = (call.start + call.queries - 1) // size
        query, key = at_least_fp32(call.query.detach()), at_least_fp32(call.key.detach())
        batch, device = len(query), query.device
        real = call.mask.keys
        real = torch.ones(1, call.keys, dtype=torch.bool, device=device) if real is None else real
        asking = torch.ones(1, call.queries, dtype=torch.bool, device=device)
        if not causal and call.queries == call.keys:
            asking = real
        before = call.start - first * size  # queries that came before, of the first block
        if causal:
            before += size - 1  # the block's representatives end with its first query
        earlier = call.recent
        held = 0 if earlier is None else min(earlier.shape[2], before)
        if earlier is not None and held:
            positions = torch.arange(call.start - held, call.start, device=device)
            compared = call.compared(earlier[:, :, -held:], positions).detach()
            query = torch.cat([at_least_fp32(compared), query], 2)
            asking = pad(asking, (held, 0), value=True)
        end = (last - first + 1) * size - before - call.queries
        if before > held:
            query, asking = pad(query, (0, 0, before - held, 0)), pad(asking, (before - held, 0))
        query, asking = _cut(query, end, 2, size), _cut(asking, end, 1, size)
        missing = -call.keys % size
        return Sides(
            query.expand(batch, *query.shape[1:]),
            asking,
            _cut(key, missing, 2, size),
            _cut(real, missing, 1, size),
            self._open(call, first, last, real),
            first,
            causal,
        )

    def _open(self, call: Call, first: int, last: int, real: Tensor) -> Tensor:
        """Which blocks the mask lets some query of a block read; whole blocks of queries, so that
        steps of decoding have the budget of the whole."""
        size = self.size
        custom, skipped = call.mask.custom, call.start - first * size
        queries, keys = (last - first + 1) * size, count(call.keys, size) * size
        if custom is not None:
            custom = custom.expand(*custom.shape[:2], call.queries, call.keys)
            custom = pad(custom, (0, 0, skipped, 0))
            queries, keys = custom.shape[2], call.keys
        mask = replace(call.mask, custom=custom)
        sides = first * size, queries, keys
        (listed,) = blocks_of(mask, *sides, size, call.query.device, ordered=False)
        return listed.read()[0] & (real_blocks(real, size) > 0)[:, None, None]

    def allowed(self, call: Call) -> Tensor | None:
        allowed, chosen = super().allowed(call), call.chosen
        if chosen is None:
            return allowed
        pairs = self._of_pairs(chosen, call)
        return pairs if allowed is None else pairs & allowed

    def blocks(self, call: Call, size: int) -> tuple[Blocks, ...]:
        sides = call.start, call.queries, call.keys
        (base,) = blocks_of(call.mask, *sides, size, call.query.device, ordered=False)
        return (base if call.chosen is None else base.restricted(call.chosen),)


def _cut(tensor: Tensor, missing: int, axis: int, size: int) -> Tensor:
    """An axis of positions in blocks, after so many more at its end (or fewer)."""
    if missing:
        tensor = pad(tensor, [0, 0] * (tensor.dim() - axis - 1) + [0, missing])
    return tensor.unflatten(axis, (-1, size))
