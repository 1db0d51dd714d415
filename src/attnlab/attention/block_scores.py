"""Scores of key blocks for query blocks: what `Predicted` chooses by.

The predictors that learn are in `block_predictors.py`; `WAYS` are other choices with the same
budget, for comparison. `dense_mass` is what a dense map has in each block: what predictors learn
from, and the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.blocks import blocks_of, count
from attnlab.attention.call import Call
from attnlab.attention.kernels.block_sparse import attend
from attnlab.attention.normalizers import Softmax
from attnlab.attention.tensors import at_least_fp32, full_precision, repeat_groups

NEVER = -1e4  # log share of a block that may not be read
PRIMES = (7919, 104729, 1299709)
ROWS_AT_ONCE = 512  # queries whose dense rows are in memory together


class Sides(NamedTuple):
    """What a choice is made from: positions in blocks, cut off from the graph."""

    query: Tensor  # batch x maps x query blocks x size x width
    asking: Tensor  # batch or 1 x query blocks x size: which of these queries count
    key: Tensor  # batch x groups x key blocks x size x width
    real: Tensor  # batch or 1 x key blocks x size: which keys are no padding
    open: Tensor  # batch or 1 x maps or 1 x query blocks x key blocks: what the mask lets be read
    first: int  # the number of the first query block
    causal: bool

    @property
    def distance(self) -> Tensor:
        """query blocks x key blocks: how far the key block lies before the query's own."""
        rows = torch.arange(self.query.shape[2], device=self.key.device) + self.first
        return rows[:, None] - torch.arange(self.key.shape[2], device=self.key.device)


def pooled(blocks: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, maximum and minimum over the positions of each block that are there; zero in a block
    without any: batch x heads x blocks x width."""
    if there.all():  # as where nothing is padded: several passes less
        return blocks.mean(3), blocks.amax(3), blocks.amin(3)
    there = there[:, None, :, :, None]
    some = there.any(3)
    mean = (blocks * there).sum(3) / there.sum(3).clamp_min(1)
    high = blocks.masked_fill(~there, -torch.inf).amax(3).where(some, 0.0)
    low = blocks.masked_fill(~there, torch.inf).amin(3).where(some, 0.0)
    return mean, high, low


def _bounds(sides: Sides, call: Call) -> Tensor:
    """The highest logit that a key within the block's minima and maxima could have (Tang et al.
    2024, "Quest")."""
    _, high, low = (
        repeat_groups(each, call.query.shape[1]) for each in pooled(sides.key, sides.real)
    )
    query = sides.query.flatten(2, 3)
    return _of_queries(query.clamp_min(0) @ high.mT + query.clamp_max(0) @ low.mT, sides, call)


def _means(sides: Sides, call: Call) -> Tensor:
    """The logit of the mean of a block's keys (Lu et al. 2025, "MoBA")."""
    mean = repeat_groups(pooled(sides.key, sides.real)[0], call.query.shape[1])
    return _of_queries(sides.query.flatten(2, 3) @ mean.mT, sides, call)


def _of_queries(logits: Tensor, sides: Sides, call: Call) -> Tensor:
    """The largest share that a block has with any query of a query block, as a logarithm.

    With a causal mask, a query block's own key block is left out: it is always read.
    """
    logits = logits.unflatten(2, sides.query.shape[2:4]) * call.parts.score.scale
    open_ = sides.open[:, :, :, None]
    if sides.causal:
        open_ = open_ & (sides.distance != 0)[:, None]
    logits = logits.masked_fill(~open_, NEVER).log_softmax(-1)
    return logits.masked_fill(~sides.asking[:, None, :, :, None], NEVER).amax(3)


def _random(sides: Sides, call: Call) -> Tensor:
    """A number for each head and pair of blocks, the same whatever the length."""
    maps = torch.arange(call.query.shape[1], device=sides.key.device)[:, None, None]
    key_block = torch.arange(sides.key.shape[2], device=sides.key.device)
    mixed = PRIMES[0] * maps + PRIMES[1] * (sides.distance + key_block) + PRIMES[2] * key_block
    for factor in (48271, 16807):
        mixed = (mixed + 15485863) * factor % 2147483647
    return (mixed.double() / 2147483647).to(sides.query).expand(len(sides.query), -1, -1, -1)


def _nearest(sides: Sides, call: Call) -> Tensor:
    """Near blocks first: with a sink, the structure of Xiao et al. 2024, "StreamingLLM"."""
    near = -sides.distance.abs().to(sides.query)
    return near.expand(*sides.query.shape[:2], -1, -1)


def _by_mass(sides: Sides, call: Call) -> Tensor:
    """What the dense map has in each block: the oracle, at the cost of the dense map."""
    return dense_mass(call).clamp_min(1e-30).log()


Way = Callable[[Sides, Call], Tensor]
WAYS: dict[str, Way] = {
    "bounds": _bounds,
    "means": _means,
    "random": _random,
    "nearest": _nearest,
    "mass": _by_mass,
}


@torch.no_grad()
def dense_mass(call: Call, rows: int | None = None, most: bool = False) -> Tensor:
    """The mean share of each block of keys in the dense map of a block of queries.

    Args:
        call: Of a structure that goes by blocks.
        rows: So many queries of each block, evenly spread from a random one; None takes all.
        most: The largest share with any of these queries in place of the mean.

    Returns:
        batch x maps x query blocks x key blocks; queries that are padding do not count, and rows
        of blocks without any other are zero.
    """
    size = call.parts.structure.block_size
    assert size is not None
    if rows is None and not most and _is_plain(call, size):
        return _mass_of_one_pass(call, size)
    step = 1 if rows is None else max(1, size // rows)
    offset = 0 if step == 1 else int(torch.randint(step, ()))
    picked = torch.arange(offset, call.queries, step, device=call.query.device)
    block = call.positions // size - call.start // size  # of each query
    batch, maps, blocks = len(call.query), call.query.shape[1], int(block[-1]) + 1
    total = call.query.new_zeros(batch, maps, blocks, count(call.keys, size)).float()
    counted = total.new_zeros(batch, blocks)
    real = call.mask.keys if call.queries == call.keys else None
    for part in picked.split(ROWS_AT_ONCE):
        tile = call.rows(part)
        allowed = tile.mask.allowed(tile.positions, tile.keys)
        with full_precision(call.query):
            weights = call.parts.normalizer.expected(tile.logits, allowed).float()
        shares = pad(weights, (0, -call.keys % size)).unflatten(-1, (-1, size)).sum(-1)
        there = torch.ones(batch, len(part), device=shares.device)
        there = there if real is None else there * real[:, part]
        shares = shares * there[:, None, :, None]
        if most:
            index = block[part][None, None, :, None].expand_as(shares)
            total.scatter_reduce_(2, index, shares, "amax")
        else:
            total.index_add_(2, block[part], shares)
        counted.index_add_(1, block[part], there)
    return total if most else total / counted.clamp_min(1)[:, None, :, None]


def _is_plain(call: Call, size: int) -> bool:
    """Whether the map is softmax of products and a mask, of whole blocks without padding."""
    normalizer, real = call.parts.normalizer, call.mask.keys
    softmax = isinstance(normalizer, Softmax) and normalizer.extra_logit() is None
    whole = call.row_positions is None and call.start % size == 0
    return softmax and whole and call.position_bias is None and (real is None or bool(real.all()))


def _mass_of_one_pass(call: Call, size: int) -> Tensor:
    """By the kernel of blocks, which has no row of the map in memory."""
    sides = call.start, call.queries, call.keys
    (every,) = blocks_of(call.mask, *sides, size, call.query.device, ordered=False)
    with full_precision(call.query):
        query, key = at_least_fp32(call.query), at_least_fp32(call.key)
        return attend(
            query, key, torch.zeros_like(key[..., :1]), every, call.parts.score.scale
        ).mass
