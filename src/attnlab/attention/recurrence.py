"""Query after query, for mechanisms whose maps depend on earlier maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnlab.attention.parts import Past, safe_log, wide

if TYPE_CHECKING:
    from attnlab.attention.call import Call


@dataclass(frozen=True)
class Rollout:
    """The maps of all queries of a call, and the past that they leave behind."""

    weights: Tensor  # batch x maps x queries x keys
    log_weights: Tensor  # the same, as logarithms
    past: Past


def roll_out(
    call: Call, *, drawn: bool, changed: Callable[[Tensor, Call], Tensor] | None = None
) -> Rollout:
    """Go through the queries of a call. `drawn`: the normalizer may sample, as in training."""
    past = call.past or _no_past(call)
    weights, logs = [], []
    for row in range(call.queries):
        one = call.rows(slice(row, row + 1))
        row_weights, row_log = _row(one, past, drawn=drawn)
        row_weights = row_weights if changed is None else changed(row_weights, one)
        past = past.after(row_weights[:, :, 0])
        weights.append(row_weights)
        logs.append(row_log)
    return Rollout(torch.cat(weights, dim=2), torch.cat(logs, dim=2), past)


def _row(call: Call, past: Past, *, drawn: bool) -> tuple[Tensor, Tensor]:
    """The weights and log weights of one query: batch x maps x 1 x keys."""
    parts = call.attention
    logits = wide(parts.score.step(wide(call.query), wide(call.spread_key), past))
    for bias in (call.position_bias, parts.structure.step_bias(past)):
        logits = logits if bias is None else logits + bias
    normalizer = parts.normalizer
    if normalizer.recurrent:
        weights = normalizer.step(logits, call.allowed, past)
        return weights, safe_log(weights)
    normalize = normalizer if drawn else normalizer.settled
    weights = parts.structure.weigh(call, logits, normalize)
    return weights, parts.structure.weigh_log(call, logits, normalizer)


def _no_past(call: Call) -> Past:
    batch, maps = call.query.shape[:2]
    zeros = wide(call.query).new_zeros(batch, maps, call.keys)
    return Past(zeros, zeros, 0)
