"""`Attention`: one mechanism, put together from its five parts.

    context = attention(query, key, value, mask)          # the fastest legal kernel
    weights = attention.weights(query, key, mask)         # batch x heads x queries x keys

Nothing is kept on the module between calls: a stepwise decoder passes `state=attention.start(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call, Rows
from attnlab.attention.kernels.choose import KernelChoice, KernelRoute
from attnlab.attention.mask import Mask
from attnlab.attention.parts import (
    Heads,
    Inputs,
    Normalizer,
    Past,
    Position,
    Score,
    Structure,
    safe_log,
)
from attnlab.attention.recurrence import Rollout, roll_out
from attnlab.attention.state import State
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import at_role, is_recurrent

ROLES = ("self", "cross", "pooling")

# batch x heads x queries x keys, and where it may be other than zero (None: everywhere) -> the same
Transform = Callable[[Tensor, Tensor | None], Tensor]


class Watcher(Protocol):
    """What is told of every call: taps and probes."""

    def see(self, call: Call) -> None: ...


@dataclass
class Attachments:
    """Who watches or changes this attention; a context manager puts them in and takes them out."""

    watchers: list[Watcher]
    transforms: list[Transform]


class Attention(nn.Module):
    """score x normalizer x structure x position x heads, at one site of a model."""

    def __init__(
        self,
        config: AttentionConfig,
        *,
        query_dim: int,
        key_dim: int,
        value_dim: int,
        output_dim: int | None,
        site: str,
        max_length: int = 1024,
    ) -> None:
        super().__init__()
        self.site = site
        self.role = role_of(site)
        self.config = config = at_role(config, self.role)
        own = self.role == "self"
        inputs = Inputs(query_dim, key_dim, value_dim, output_dim, max_length, own)
        self.heads: Heads = config.heads.build(inputs)
        shape = self.heads.shape
        self.score: Score = config.score.build(shape)
        self.normalizer: Normalizer = config.normalizer.build(shape)
        self.structure: Structure = config.structure.build(shape)
        self.position: Position = config.position.build(shape)
        self.dropout = config.dropout
        self.output_dim = self.heads.output_dim
        self.recurrent = is_recurrent(config)
        self.mixes_weights = type(self.heads).mix_weights is not Heads.mix_weights
        self.kernels = KernelChoice(config)
        self.attached = Attachments([], [])

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Mask | None = None,
        state: State | None = None,
    ) -> Tensor:
        """batch x queries x output_dim; with a state, queries go on where the last call ended."""
        call, grown = self.call_and_state(query, key, value, mask, state)
        for watcher in self.attached.watchers:
            watcher.see(call)
        past = None
        if self.recurrent:
            rolled = self._roll(call, drawn=True)
            call.used, past = rolled.weights, rolled.past
            context = self._weighted(call.used, call)
        else:
            context = self.attend(call)
        if state is not None:
            _advance(state, grown, past, query.shape[1])
        return self.heads.merge(context, call.source)

    def attend(self, call: Call) -> Tensor:
        """batch x heads x queries x width: the context of a call, by its kernel."""
        if call.route.fused and not self.attached.transforms:
            return call.route.context(call)
        call.used = self._changed(call.weigh(self.normalizer), call)
        return self._weighted(call.used, call)

    def weights(
        self,
        query: Tensor,
        key: Tensor | None,
        mask: Mask | None = None,
        *,
        rows: Rows | None = None,
        heads: Sequence[int] | int | None = None,
        state: State | None = None,
    ) -> Tensor:
        """batch x heads x queries x keys, fp32: before dropout, nothing drawn; the state stays."""
        call = self.call(query, key, None, mask, state)
        return self.maps(call, rows=rows, heads=heads)

    def log_weights(
        self,
        query: Tensor,
        key: Tensor | None,
        mask: Mask | None = None,
        *,
        rows: Rows | None = None,
        heads: Sequence[int] | int | None = None,
        state: State | None = None,
    ) -> Tensor:
        """The logarithm of `weights`, finite everywhere: forbidden keys are very negative."""
        call = self.call(query, key, None, mask, state)
        return self.maps(call, rows=rows, heads=heads, log=True)

    def maps(
        self,
        call: Call,
        *,
        rows: Rows | None = None,
        heads: Sequence[int] | int | None = None,
        log: bool = False,
    ) -> Tensor:
        """The map of a call: batch x heads x queries x keys, fp32 or wider."""
        if self.recurrent:
            rolled = self._roll(call, drawn=False)
            found = rolled.log_weights if log else rolled.weights
            found = found if rows is None else found[:, :, rows]
        else:
            call = call if rows is None else call.rows(rows)
            found = call.log_settled if log else call.settled
        if heads is None:
            return found
        return found[:, [heads] if isinstance(heads, int) else list(heads)]

    def start(self, key: Tensor | None, value: Tensor | None, mask: Mask | None = None) -> State:
        """What stepwise decoding keeps: all keys at once, or none yet in self-attention."""
        mask = mask or Mask()
        if key is None:
            return State(None, None, mask, grows=True)
        key, value = _clean(key, mask), None if value is None else _clean(value, mask)
        projected = self._project_keys(key, mask, 0)
        values = None if value is None else self.heads.values(value, mask.keys)
        return State(projected, values, mask, grows=False)

    def kernel_for(self, call: Call) -> KernelRoute:
        """The kernel that serves a call, by the mechanism, the device and the sizes."""
        return self.kernels.route(call)

    def log_of_mixed(self, weights: Tensor) -> Tensor:
        """Mixed maps have no logits of their own (and may be negative, which counts as zero)."""
        return safe_log(weights)

    def extra_repr(self) -> str:
        return f"site={self.site}, mechanism={self.config.name}, kernel={self.config.kernel}"

    def call(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None = None,
        mask: Mask | None = None,
        state: State | None = None,
    ) -> Call:
        """Everything that one use of this attention starts from; the state stays as it is."""
        return self.call_and_state(query, key, value, mask, state)[0]

    def call_and_state(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Mask | None,
        state: State | None,
    ) -> tuple[Call, State | None]:
        """Project both sides; with a state, also the state as it is after this call."""
        mask, grown = mask or Mask(), None
        start = 0 if state is None else state.position
        if state is not None and not state.grows:
            projected, values, mask = _present(state.key), state.value, state.mask & mask
        else:
            query, key, value = _cleaned(query, key, value, mask)
            projected = self._project_keys(key, mask, 0 if state is None else state.length)
            values = None if value is None else self.heads.values(value, mask.keys)
            if state is not None:
                grown = state.with_keys(projected, values, mask)
                projected, values, mask = _present(grown.key), grown.value, grown.mask
        positions = torch.arange(start, start + query.shape[1], device=query.device)
        asked = self.heads.queries(self.position.mark_query(query, positions))
        call = Call(
            self,
            query,
            asked,
            self.score.prepare_query(self.position.turn_query(asked, positions)),
            projected,
            values,
            replace(mask, patterns=(*mask.patterns, *self.structure.patterns())),
            start,
            None if state is None else state.past,
        )
        return call, grown

    def _project_keys(self, key: Tensor, mask: Mask, start: int) -> Tensor:
        """batch x keys x key_dim -> batch x key_maps x keys x width, as the score compares them."""
        positions = torch.arange(start, start + key.shape[1], device=key.device)
        split = self.heads.keys(self.position.mark_key(key, positions))
        return self.score.prepare_key(self.position.turn_key(split, positions), mask)

    def _roll(self, call: Call, *, drawn: bool) -> Rollout:
        if self.attached.transforms:
            return roll_out(call, drawn=drawn, changed=self._changed)
        if drawn and self.normalizer.draws:
            return roll_out(call, drawn=True)
        return call.rolled

    def _changed(self, weights: Tensor, call: Call) -> Tensor:
        for transform in self.attached.transforms:
            weights = transform(weights, call.allowed)
        return weights

    def _weighted(self, weights: Tensor, call: Call) -> Tensor:
        """batch x heads x queries x width: the sum of values by weights."""
        value = _present(call.value)
        weights = nn.functional.dropout(weights, self.dropout, self.training).to(value.dtype)
        if value.shape[1] != weights.shape[1]:
            value = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
        return weights @ value


def role_of(site: str) -> str:
    """`decoder.cross.0` is cross-attention, `encoder.self.3` self-attention, `pooling` pooling."""
    roles = [part for part in site.split(".") if part in ROLES]
    if len(roles) != 1:
        raise ValueError(f"site '{site}' names no role; it needs one of {', '.join(ROLES)}")
    return roles[0]


def _clean(tensor: Tensor, mask: Mask) -> Tensor:
    """Zero where there is no key: whatever stands in the padding, NaN included, cannot leak."""
    if mask.keys is None:
        return tensor
    return tensor.masked_fill(~mask.keys[:, :, None], 0)


def _cleaned(
    query: Tensor, key: Tensor | None, value: Tensor | None, mask: Mask
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All three without what stands in the padding; what was one tensor stays one."""
    if key is None:
        raise ValueError("keys are needed: there is no state that has them")
    clean = _clean(key, mask)
    if value is not None:
        value = clean if value is key else _clean(value, mask)
    return clean if query is key else query, clean, value


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("a call that was made for maps alone has no values")
    return tensor


def _advance(state: State, grown: State | None, past: Past | None, queries: int) -> None:
    if grown is not None:
        state.key, state.value, state.mask = grown.key, grown.value, grown.mask
    if past is not None:
        state.past = past
    state.position += queries
