"""`Call`: the data of one use of a mechanism, and what is computed from them on demand.

The forward pass, maps and probes all start from a call. What one of them has computed (the logits,
say) the others reuse, and nothing has to be kept on the module. `Kernel` is the interface of the
implementations; its base class is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from attnlab.attention.blocks import Blocks
from attnlab.attention.mask import Mask
from attnlab.attention.parts import Normalize, Parts, Past, Structure
from attnlab.attention.tensors import (
    FORBIDDEN_LOG,
    at_least_fp32,
    full_precision,
    mark_forbidden,
    of_keys,
    over_all_keys,
    repeat_groups,
    safe_log,
)
from attnlab.attention.unrolled import Unrolled, unroll

Rows = Tensor | Sequence[int] | slice
BLOCK_COSTS = {64: 1.0, 32: 1.2, 16: 1.6}  # time of a pair in blocks of a size, measured on AVX2


class Kernel:
    """One implementation. This base class is the reference: every formula, logits in memory."""

    fused = False  # whether it computes the context without computing the weights

    def obstacle(self, call: Call) -> str | None:
        """Why the context of this call is beyond the kernel; None where it can compute it.

        That the parts of the mechanism suit the kernel has been checked with the config.
        """
        return None

    def worthwhile(self, call: Call) -> bool:
        """Whether the kernel is meant for such a call; asked where it was not forced."""
        return True

    def share(self, call: Call) -> float | None:
        """The work of this call as a share of that of all pairs; None where it is always all."""
        return None

    def logits(self, call: Call) -> Tensor:
        """batch x maps x queries x keys, without positions, masks and mixing; fp32 or wider."""
        return call.parts.score(at_least_fp32(call.query), at_least_fp32(call.repeated_key))

    def context(self, call: Call) -> Tensor:
        """batch x heads x queries x width; fused kernels alone have it."""
        raise NotImplementedError("the reference computes weights first, and sums values by them")


@dataclass
class Call:
    """Queries and keys as the score compares them, and which keys each query may attend to."""

    parts: Parts
    query_input: Tensor  # batch x queries x query_dim, as the model passed it
    query_heads: Tensor  # batch x maps x queries x width, as the heads made it
    query: Tensor  # batch x maps x queries x width, prepared by the score
    key: Tensor  # batch x key_maps x keys x width, prepared by the score
    value: Tensor | None  # batch x heads or fewer x keys x width; None for a map alone
    mask: Mask
    start: int  # position of the first query
    past: Past | None = None  # recurrent mechanisms: the weights of earlier queries
    recent: Tensor | None = None  # batch x maps x earlier queries x width, as heads made them
    kept: Tensor | None = None  # batch x groups x keys: their positions, where some were evicted
    dropout: float = 0.0  # share of weights to drop in this call
    bias: Tensor | None = None  # added to the logits; broadcasts to batch x maps x queries x keys
    kernel: Kernel = field(default_factory=Kernel)
    row_positions: Tensor | None = None  # positions of the queries where they do not follow `start`
    whole: Call | None = None  # the call with all queries, where this one has some of them
    used_weights: Tensor | None = None  # batch x heads x queries x keys: those of the forward pass
    block_mass: Tensor | None = None  # batch x maps x query blocks x key blocks: their mean share

    @property
    def queries(self) -> int:
        return self.query.shape[2]

    @property
    def keys(self) -> int:
        return self.key.shape[2]

    @property
    def total(self) -> int:
        """How many keys there were before any was evicted."""
        whole = self.whole or self
        return self.keys if self.kept is None else whole.start + whole.queries

    @property
    def mask_case(self) -> str:
        """What kinds of mask are timed by themselves: plain, masked, causal, ruled."""
        if self.parts.structure.block_size is not None:
            return "ruled"
        if self.mask.rules or self.mask.custom is not None:
            return "causal" if self.mask.only_causal and self.from_start else "ruled"
        return "plain" if self.mask.keys is None else "masked"

    @property
    def from_start(self) -> bool:
        """Whether query i is at position i."""
        return self.start == 0 and self.row_positions is None

    @property
    def last_queries(self) -> bool:
        """Whether the queries are at the last positions of the keys, one after the other."""
        return self.row_positions is None and self.start + self.queries == self.keys

    @cached_property
    def positions(self) -> Tensor:
        """queries: the position of each on the axis of the keys."""
        if self.row_positions is not None:
            return self.row_positions
        return torch.arange(self.start, self.start + self.queries, device=self.query.device)

    @cached_property
    def allowed(self) -> Tensor | None:
        """Broadcasts to batch x maps x queries x keys; None where every key is allowed."""
        return self.parts.structure.allowed(self)

    @cached_property
    def chosen(self) -> Tensor | None:
        """The blocks that the structure chose for the whole call: batch x maps x query blocks x key
        blocks; None where it chooses none."""
        return self.parts.structure.choose(self) if self.whole is None else self.whole.chosen

    @cached_property
    def listed(self) -> tuple[tuple[Blocks, ...], float]:
        """The blocks that the structure reads, of the size that makes the least work, and that
        work as a share of all pairs'."""
        costs = BLOCK_COSTS if self.mask.custom is None else {64: 1.0}  # lists of rules are kept
        own = self.parts.structure.block_size
        if own is not None:
            costs = {own: BLOCK_COSTS.get(own, 1.0)}
        ways = []
        for size, cost in costs.items():
            lists = self.parts.structure.blocks(self, size)
            ways.append((lists, cost * sum(blocks.density for blocks in lists)))
        return min(ways, key=lambda way: way[1])

    @cached_property
    def position_bias(self) -> Tensor | None:
        """What is added to the logits; broadcasts to batch x maps x queries x keys."""
        position, scale = self.parts.position, self.parts.score.scale
        with full_precision(self.query):
            query = at_least_fp32(self.query_heads)
            bias = position.bias(query, self.positions, self.total, scale)
        if bias is not None and self.kept is not None:
            bias = of_keys(bias, self.kept, query.shape[1])
        found = [
            b for b in (bias, self.bias, self.parts.structure.logit_bias(self)) if b is not None
        ]
        return sum(found[1:], found[0]) if found else None

    @cached_property
    def logits(self) -> Tensor:
        """batch x maps x queries x keys, fp32 or wider, before any mask."""
        with full_precision(self.query):
            logits = self.kernel.logits(self)
            if self.position_bias is not None:
                logits = logits + self.position_bias
            return self.parts.heads.mix_logits(logits)

    @cached_property
    def expected(self) -> Tensor:
        """batch x heads x queries x keys: the map, with nothing sampled and nothing dropped."""
        return self._of_all(self.weights_by(self.parts.normalizer.expected), 0.0)

    @cached_property
    def expected_log(self) -> Tensor:
        """batch x heads x queries x keys: the logarithm of the map, finite everywhere."""
        if self.parts.heads.mixes_weights:  # no logits of their own; below zero counts as zero
            return mark_forbidden(safe_log(self.expected), self.allowed)
        with full_precision(self.query):
            logs = self.parts.structure.log_weights(self, self.logits, self.parts.normalizer)
        return self._of_all(mark_forbidden(logs, self.allowed), FORBIDDEN_LOG)

    def _of_all(self, maps: Tensor, absent: float) -> Tensor:
        """The maps with a column for evicted keys as well."""
        return maps if self.kept is None else over_all_keys(maps, self.kept, self.total, absent)

    def compared(self, heads: Tensor, positions: Tensor) -> Tensor:
        """Queries as the heads made them -> as the score compares them, at these positions."""
        return self.parts.score.prepare_query(self.parts.position.transform_query(heads, positions))

    def weights_by(self, normalize: Normalize) -> Tensor:
        """batch x heads x queries x keys: logits to weights by a way to normalize them."""
        with full_precision(self.query):
            weights = self.parts.structure.weights(self, self.logits, normalize)
            return self.parts.heads.mix_weights(weights)

    @cached_property
    def unrolled(self) -> Unrolled:
        """Recurrent mechanisms: the maps query after query, with nothing sampled."""
        return unroll(self)

    def rows(self, rows: Rows) -> Call:
        """The same call for some of its queries."""
        bias = self.bias
        return replace(
            self,
            query_heads=self.query_heads[:, :, rows],
            query=self.query[:, :, rows],
            mask=self.mask.rows(rows),
            bias=bias if bias is None or bias.shape[2] == 1 else bias[:, :, rows],
            row_positions=self.positions[rows],
            whole=self.whole or self,
            used_weights=None,
            block_mass=None,
        )

    def heads(self, heads: Sequence[int]) -> Call:
        """The same call for some of its maps, where each is a product of a query and a key."""
        maps = self.query.shape[1]
        chosen = [range(maps)[head] for head in heads]
        custom = self.mask.custom
        if custom is not None and custom.shape[1] > 1:
            custom = custom[:, chosen]
        return replace(
            self,
            query_heads=self.query_heads[:, chosen],
            query=self.query[:, chosen],
            key=self._of_maps(self.key, chosen),
            kept=None if self.kept is None else self._of_maps(self.kept, chosen),
            value=None,
            mask=replace(self.mask, custom=custom),
            whole=None,
            used_weights=None,
            block_mass=None,
        )

    def behind(self, count: int) -> Call:
        """The same call without its first queries and keys, which a prompt has put there."""
        if not count:
            return self

        def cut(matrix: Tensor | None) -> Tensor | None:  # its last axis is of keys, or of size 1
            return matrix if matrix is None or matrix.shape[-1] == 1 else matrix[..., count:]

        some = self.rows(slice(count, None))
        mask = replace(some.mask, keys=cut(some.mask.keys), custom=cut(some.mask.custom))
        key, positions = self.key[:, :, count:], some.positions - count
        others = {"bias": cut(some.bias), "row_positions": positions, "whole": None}
        return replace(some, key=key, value=None, mask=mask, **others)

    def of_every_key(self) -> Call:
        """The same call without what its structure leaves out beyond the mask: the dense map."""
        parts = self.parts._replace(structure=Structure(self.parts.structure.shape))
        return replace(self, parts=parts, whole=None, used_weights=None, block_mass=None)

    def sample(self, examples: Tensor) -> Call:
        """The same call for some examples of the batch, cut off from the graph."""
        bias = None if self.bias is None else self.bias.detach()
        return replace(
            self,
            query_heads=self.query_heads[examples].detach(),
            query=self.query[examples].detach(),
            key=self.key[examples].detach(),
            value=None,
            mask=self.mask.select(examples),
            past=None if self.past is None else self.past.select(examples).detach(),
            recent=None if self.recent is None else self.recent[examples],
            kept=None if self.kept is None else self.kept[examples],
            bias=bias if bias is None or len(bias) == 1 else bias[examples],
            whole=None,
            used_weights=None,
            block_mass=None,
        )

    def _of_maps(self, shared: Tensor, chosen: Sequence[int]) -> Tensor:
        """Of what groups of maps share, batch x groups x ..., that of each of these maps."""
        return shared[:, [map_ * shared.shape[1] // self.query.shape[1] for map_ in chosen]]

    @property
    def repeated_key(self) -> Tensor:
        """batch x maps x keys x width."""
        return repeat_groups(self.key, self.query.shape[1])

    @property
    def present_value(self) -> Tensor:
        """batch x heads or fewer x keys x width; raises where the call is for a map alone."""
        if self.value is None:
            raise ValueError("a call that was made for a map alone has no values")
        return self.value
