"""`Call`: one use of a mechanism, with everything computed for it, which lives no longer than it.

Forward, maps and probes all start from a call, so that what one of them has computed (the
logits, say) the others need not compute again, and nothing has to be kept on the module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnlab.attention.mask import Mask
from attnlab.attention.parts import Normalize, Past, spread
from attnlab.attention.recurrence import Rollout, roll_out

if TYPE_CHECKING:
    from attnlab.attention.kernels.choose import KernelRoute
    from attnlab.attention.mechanism import Attention

Rows = Tensor | Sequence[int] | slice


@dataclass
class Call:
    """Queries and keys as the score compares them, and who may look at what."""

    attention: Attention
    source: Tensor  # batch x queries x query_dim, as they came in
    asked: Tensor  # batch x maps x queries x width, as the heads made them
    query: Tensor  # batch x maps x queries x width, prepared by the score
    key: Tensor  # batch x key_maps x keys x width, prepared by the score
    value: Tensor | None  # batch x heads or fewer x keys x width; None where only maps are asked
    mask: Mask
    start: int  # position of the first query
    past: Past | None = None  # recurrent mechanisms: what earlier queries looked at
    picked: Tensor | None = None  # where the queries stand, if not at start, start + 1, ...
    whole: Call | None = None  # the call with all queries, where this has some of them
    kernel: KernelRoute | None = None  # the kernel to use, where it is not to be chosen
    used: Tensor | None = None  # batch x heads x queries x keys: the weights that forward took

    @property
    def queries(self) -> int:
        return self.query.shape[2]

    @property
    def keys(self) -> int:
        return self.key.shape[2]

    @property
    def from_start(self) -> bool:
        """Whether query i is at position i."""
        return self.start == 0 and self.picked is None

    @cached_property
    def route(self) -> KernelRoute:
        """The kernel that serves this call."""
        return self.kernel or self.attention.kernel_for(self)

    @cached_property
    def positions(self) -> Tensor:
        """queries: where each stands on the axis of the keys."""
        if self.picked is not None:
            return self.picked
        return torch.arange(self.start, self.start + self.queries, device=self.query.device)

    @cached_property
    def allowed(self) -> Tensor | None:
        """Broadcasts to batch x maps x queries x keys; None where every key is allowed."""
        return self.mask.allowed(self.positions, self.keys)

    @property
    def allowed_is_none(self) -> bool:
        """Whether every query may look at every key, known without making `allowed`."""
        return self.mask.keys is None and self.mask.custom is None and not self.mask.rules

    @cached_property
    def position_bias(self) -> Tensor | None:
        """What positions add to the logits; broadcasts to batch x maps x queries x keys."""
        attention = self.attention
        return attention.position.bias(self.asked, self.positions, self.keys, attention.score.scale)

    @cached_property
    def logits(self) -> Tensor:
        """batch x maps x queries x keys, fp32 or wider, before any mask."""
        logits = self.route.logits(self)
        if self.position_bias is not None:
            logits = logits + self.position_bias
        return self.attention.heads.mix_logits(logits)

    @cached_property
    def rolled(self) -> Rollout:
        """Recurrent mechanisms: the maps query after query, with nothing drawn."""
        return roll_out(self, drawn=False)

    @cached_property
    def settled(self) -> Tensor:
        """batch x heads x queries x keys: the map, with nothing drawn and nothing dropped."""
        return self.weigh(self.attention.normalizer.settled)

    @cached_property
    def log_settled(self) -> Tensor:
        """batch x heads x queries x keys: the logarithm of the map, finite everywhere."""
        attention = self.attention
        if attention.mixes_weights:
            return attention.log_of_mixed(self.settled)
        return attention.structure.weigh_log(self, self.logits, attention.normalizer)

    def weigh(self, normalize: Normalize) -> Tensor:
        """batch x heads x queries x keys: logits to weights."""
        weights = self.attention.structure.weigh(self, self.logits, normalize)
        return self.attention.heads.mix_weights(weights)

    def rows(self, rows: Rows) -> Call:
        """The same call for some of its queries."""
        return replace(
            self,
            asked=self.asked[:, :, rows],
            query=self.query[:, :, rows],
            mask=self.mask.rows(rows),
            picked=self.positions[rows],
            whole=self.whole or self,
            used=None,
        )

    def sample(self, examples: Tensor) -> Call:
        """The same call for some examples of the batch, cut off from the graph."""
        return replace(
            self,
            asked=self.asked[examples].detach(),
            query=self.query[examples].detach(),
            key=self.key[examples].detach(),
            value=None,
            mask=self.mask.select(examples),
            past=None if self.past is None else self.past.select(examples).detach(),
            whole=None,
            used=None,
        )

    @property
    def spread_key(self) -> Tensor:
        """batch x maps x keys x width."""
        return spread(self.key, self.query.shape[1])
