"""`Attention`: one mechanism, put together from its five parts.

    context = attention(query, key, value, mask)          # the fastest legal kernel
    weights = attention.weights(query, key, mask)         # batch x heads x queries x keys

Nothing is kept on the module between calls: a stepwise decoder passes `state=attention.start(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call, Rows
from attnlab.attention.kernels.choose import KernelChoice
from attnlab.attention.mask import Mask
from attnlab.attention.parts import Inputs, Parts
from attnlab.attention.state import Eviction, State
from attnlab.attention.tensors import repeat_groups
from attnlab.attention.unrolled import Unrolled, unroll
from attnlab.config.attention import AttentionConfig
from attnlab.config.combinations import at_role, role_of

# Other weights for those of a call: batch x heads x queries x keys, and where they may be other
# than zero (None: everywhere) -> the same shape.
MapChange = Callable[[Tensor, Tensor | None], Tensor]


class Observer(Protocol):
    """Receives every call: taps and probes."""

    def record(self, call: Call) -> None: ...


@dataclass
class Attachments:
    """What context managers add to one attention, and remove."""

    observers: list[Observer] = field(default_factory=list)
    changes: list[MapChange] = field(default_factory=list)
    eviction: Eviction | None = None  # of states that start while it is there


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
        """Build the parts that a config names.

        Args:
            config: The mechanism.
            query_dim: Width of the queries; `key_dim` and `value_dim` likewise.
            output_dim: Width of the contexts; None takes what the heads give.
            site: Name of the place in the model, which holds a role: `decoder.cross.0`.
            max_length: Longest input, for parts that have a parameter for each position.
        """
        super().__init__()
        self.site, self.role = site, role_of(site)
        self.config = config = at_role(config, self.role)
        inputs = Inputs(query_dim, key_dim, value_dim, output_dim, max_length)
        self.heads = config.heads.build(inputs)
        shape = self.heads.shape
        self.score = config.score.build(shape)
        self.normalizer = config.normalizer.build(shape)
        self.structure = config.structure.build(shape)
        self.position = config.position.build(shape)
        parts = (self.score, self.normalizer, self.structure)
        self.recurrent = any(part.recurrent for part in parts)  # a map depends on earlier ones
        self.dropout = config.dropout
        self.output_dim = self.heads.output_dim
        self.kernels = KernelChoice(config)
        self.attached = Attachments()
        self.prompt = 0  # queries and keys before those of the input, which maps leave out
        self.prefix: nn.Module | None = None  # learned keys and values beside those of a call

    @property
    def parts(self) -> Parts:
        """The five parts."""
        return Parts(self.score, self.normalizer, self.structure, self.position, self.heads)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Mask | None = None,
        state: State | None = None,
    ) -> Tensor:
        """batch x queries x output_dim; with a state, queries follow those of the last call."""
        call, grown = self.call_and_state(query, key, value, mask, state)
        for observer in self.attached.observers:
            observer.record(call.behind(self.prompt))
        past = None
        if self.recurrent:
            unrolled = self._unroll(call, sample=True)
            call.used_weights, past = unrolled.weights, unrolled.past
            context = self._weighted_sum(call)
        else:
            context = self.attend(call)
        if state is not None:
            state.advance(call, grown, past)
        return self.heads.merge(context, call.query_input)

    def attend(self, call: Call) -> Tensor:
        """batch x heads x queries x width: the context of a call, by its kernel."""
        if call.kernel.fused and not self.attached.changes:
            self.kernels.check(call, self.site)
            context = call.kernel.context(call)
        else:
            call.used_weights = self._changed(call.weights_by(self.normalizer), call)
            context = self._weighted_sum(call)
        return context if self.prefix is None else context + self.prefix(call.query_heads)

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
        """The map, without dropout and sampling; the state stays as it is.

        Args:
            query: batch x queries x query_dim.
            key: batch x keys x key_dim; None where the state has them.
            mask: Which keys each query may attend to.
            rows: The queries to return; None is all.
            heads: The heads to return; None is all.
            state: What earlier calls of a stepwise decoder left.

        Returns:
            batch x heads x queries x keys, fp32 or wider.
        """
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
        if isinstance(heads, int):
            heads = [heads]
        if self.recurrent:
            unrolled = self._unroll(call, sample=False)
            maps = unrolled.log_weights if log else unrolled.weights
            maps = maps if rows is None else maps[:, :, rows]
        else:
            call = call if rows is None else call.rows(rows)
            if heads is not None and self.kernels.products(call):
                call, heads = call.heads(heads), None
            maps = call.expected_log if log else call.expected
        return maps if heads is None else maps[:, list(heads)]

    def start(self, key: Tensor | None, value: Tensor | None, mask: Mask | None = None) -> State:
        """The state before the first step: all keys in cross-attention, none in self-attention."""
        mask = mask or Mask()
        if key is None:
            return State(None, None, mask, grows=True, eviction=self.attached.eviction)
        projected = self._project_keys(mask.without_padding(key), mask, 0)
        if value is not None:
            value = self.heads.project_value(mask.without_padding(value), mask.keys)
        return State(projected, value, mask, grows=False)

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
            query, key, value = _all_without_padding(query, key, value, mask)
            projected = self._project_keys(key, mask, 0 if state is None else state.length)
            values = None if value is None else self.heads.project_value(value, mask.keys)
            if state is not None:
                grown = state.with_keys(projected, values, mask)
                projected, values, mask = _present(grown.key), grown.value, grown.mask
        positions = torch.arange(start, start + query.shape[1], device=query.device)
        heads = self.heads.project_query(self.position.add_to_query(query, positions))
        transformed = self.position.transform_query(heads, positions)
        mask, kept = replace(mask, patterns=(*mask.patterns, *self.structure.patterns())), None
        if grown is not None and grown.kept is not None:
            kept = grown.kept
            mask = mask.of_kept(positions, kept, grown.length, heads.shape[1])
        call = Call(
            parts=self.parts,
            query_input=query,
            query_heads=heads,
            query=self.score.prepare_query(transformed),
            key=projected,
            value=values,
            mask=mask,
            start=start,
            past=None if state is None else state.past,
            recent=None if state is None else state.recent,
            kept=kept,
            dropout=self.dropout if self.training else 0.0,
        )
        call.kernel = self.kernels.choose(call)
        if grown is not None:
            grown = grown.with_queries(heads, self.structure.recent)
        return call, grown

    def _project_keys(self, key: Tensor, mask: Mask, start: int) -> Tensor:
        """batch x keys x key_dim -> batch x key_maps x keys x width, as the score compares them."""
        positions = torch.arange(start, start + key.shape[1], device=key.device)
        heads = self.heads.project_key(self.position.add_to_key(key, positions))
        return self.score.prepare_key(self.position.transform_key(heads, positions), mask)

    def _unroll(self, call: Call, *, sample: bool) -> Unrolled:
        if self.attached.changes:
            return unroll(call, sample=sample, change=self._changed)
        if sample and self.normalizer.samples:
            return unroll(call, sample=True)
        return call.unrolled

    def _changed(self, weights: Tensor, call: Call) -> Tensor:
        for change in self.attached.changes:
            weights = change(weights, call.allowed)
        return weights

    def _weighted_sum(self, call: Call) -> Tensor:
        """batch x heads x queries x width: the sum of values by the weights that are used."""
        weights, value = _present(call.used_weights), call.present_value
        weights = nn.functional.dropout(weights, call.dropout).to(value.dtype)
        return weights @ repeat_groups(value, weights.shape[1])


def _all_without_padding(
    query: Tensor, key: Tensor | None, value: Tensor | None, mask: Mask
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All three with zeros in the padding; what was one tensor stays one."""
    if key is None:
        raise ValueError("keys are needed: there is no state that has them")
    clean = mask.without_padding(key)
    if value is not None:
        value = clean if value is key else mask.without_padding(value)
    return clean if query is key else query, clean, value


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("this state has no keys")
    return tensor
