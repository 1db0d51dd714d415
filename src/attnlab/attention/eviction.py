"""Evictions: which keys a cache keeps that may hold no more than a budget of them.

    with evicting([model], Accumulated(budget=256, every=16, sink=4, recent=0.5)):
        ...                                     # decode, or score a text step by step

A cache (`State`) that starts while this is open has at most `budget` keys for each head after every
call. Heads that share keys, or mix their logits, keep the same ones. What is left keeps its
positions, so that masks and relative positions stay right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

from attnlab.attention.call import Call
from attnlab.attention.mask import Mask
from attnlab.attention.predicted import Predicted
from attnlab.attention.state import State
from attnlab.attention.taps import sites
from attnlab.attention.tensors import full_precision, of_keys, repeat_groups

ROWS_AT_ONCE = 512  # queries whose rows of the map are in memory together


@contextmanager
def evicting(models: Iterable[nn.Module], eviction: Evicting | None) -> Iterator[None]:
    """While open, the caches that grow in these models start with this eviction."""
    attached = [each.attached for model in models for each in sites(model).values()]
    for each in attached:
        each.eviction = eviction
    try:
        yield
    finally:
        for each in attached:
            each.eviction = None


def evicts(model: nn.Module) -> bool:
    """Whether `evicting` is open on a model."""
    return any(each.attached.eviction is not None for each in sites(model).values())


class Evicting(ABC):
    """Keeps the keys with the highest scores, beside the first and the latest."""

    recent = 0  # earlier queries that scores depend on

    def __init__(self, *, budget: int, every: int, sink: int, recent: float) -> None:
        """Set what is kept.

        Args:
            budget: Keys of each head, at most.
            every: How many are evicted at once, so that as many steps pass until the next time.
            sink: Keys at the start that are always kept.
            recent: Share of the budget that the latest keys have, one of them at least.
        """
        self.budget, self.left = budget, budget + 1 - every
        self.sink, self.latest = sink, max(1, round(recent * budget))

    def __call__(self, call: Call, state: State) -> State:
        """The state after a call, within the budget."""
        state, held = self.noted(call, state), call.keys
        if held <= self.budget:
            return state
        positions = positions_of(call, state)
        scores = by_group(self.scores(call, state), positions.shape[1])
        if state.mask.keys is not None:  # padding first
            real = state.mask.keys[:, None].expand(*positions.shape[:2], -1)
            scores = scores.masked_fill(~real.gather(-1, positions), -torch.inf)
        always = (positions < self.sink) | (positions >= state.length - self.latest)
        scores = scores.masked_fill(always, torch.inf)
        return state.with_some(scores.topk(self.left).indices.sort().values, positions)

    def noted(self, call: Call, state: State) -> State:
        """The state with what has to be counted at every call."""
        return state

    @abstractmethod
    def scores(self, call: Call, state: State) -> Tensor:
        """How much each key of a state is worth after a call: batch x groups or maps x keys."""


class Window(Evicting):
    """The first keys and the latest (Xiao et al. 2024, "StreamingLLM")."""

    def scores(self, call: Call, state: State) -> Tensor:
        return positions_of(call, state).float()


class Accumulated(Evicting):
    """The keys that had most weight in all queries so far (Zhang et al. 2023, "H2O")."""

    def noted(self, call: Call, state: State) -> State:
        received = by_group(weight_received(call), groups_of(call))
        if state.mass is not None:
            received = received + pad(state.mass, (0, received.shape[-1] - state.mass.shape[-1]))
        return replace(state, mass=received)

    def scores(self, call: Call, state: State) -> Tensor:
        assert state.mass is not None
        return state.mass


class Observed(Evicting):
    """The keys that have most weight in the latest queries, each as much as its neighbours (Li et
    al. 2024, "SnapKV"): at the end of the prompt, and each time that keys are evicted."""

    def __init__(self, *, observed: int, pool: int, **shared: float) -> None:
        super().__init__(**shared)  # type: ignore[arg-type]
        self.recent, self.pool = observed, pool

    def scores(self, call: Call, state: State) -> Tensor:
        assert state.recent is not None
        count = state.recent.shape[2]
        start = state.length - count
        positions = torch.arange(start, state.length, device=call.query.device)
        maps = call.query.shape[1]
        mask = unlowered(call, state)
        if state.kept is not None:
            mask = mask.of_kept(positions, state.kept, state.length, maps)
        observing = replace(
            call.of_every_key(),
            query_heads=state.recent,
            query=call.compared(state.recent, positions),
            mask=mask,
            start=start,
            kept=state.kept,
        )
        weight = weight_received(observing)
        return max_pool1d(weight, self.pool, stride=1, padding=self.pool // 2)


class Expected(Evicting):
    """The weight that the next queries are expected to give, times the length of the value (Devoto
    et al. 2025, "Expected Attention").

    Queries are taken for Gaussian, with mean and covariance of the latest; what positions do to
    them is averaged over the next `ahead` positions.
    """

    def __init__(self, *, observed: int, ahead: int, **shared: float) -> None:
        super().__init__(**shared)  # type: ignore[arg-type]
        self.recent, self.ahead = observed, ahead

    def scores(self, call: Call, state: State) -> Tensor:
        assert state.recent is not None
        heads, position, scale = state.recent, call.parts.position, call.parts.score.scale
        count, maps = heads.shape[2], heads.shape[1]
        ahead = torch.arange(state.length, state.length + self.ahead, device=heads.device)
        with full_precision(heads):
            moved = heads.float().repeat_interleave(self.ahead, 2)  # each query at each position
            moved = call.compared(moved, ahead.repeat(count)).unflatten(2, (count, -1)).mean(3)
            mean = moved.mean(2, keepdim=True)  # batch x maps x 1 x width
            spread = moved - mean
            covariance = spread.mT @ spread / count
            key = repeat_groups(call.key, maps).float()
            logits = scale * (key @ mean.mT)[..., 0]
            logits = logits + scale**2 / 2 * ((key @ covariance) * key).sum(-1)
            typical = heads.float().mean(2, keepdim=True).expand(-1, -1, self.ahead, -1)
            bias = position.bias(typical, ahead, state.length, scale)
            if bias is not None:
                bias = bias.mean(2, keepdim=True)
                bias = bias if state.kept is None else of_keys(bias, state.kept, maps)
                logits = logits + bias[:, :, 0]
        length = call.present_value.float().norm(dim=-1)  # batch x heads or fewer x keys
        return logits.softmax(-1) * repeat_groups(length, maps)


class PredictedBlocks(Evicting):
    """The keys of the blocks that the predictor of `attention/structure=predicted` gives most to,
    for the latest queries."""

    def scores(self, call: Call, state: State) -> Tensor:
        structure = call.parts.structure
        assert isinstance(structure, Predicted)
        positions = repeat_groups(positions_of(call, state), call.query.shape[1])
        key = call.key
        if state.kept is not None:  # zero where a key is gone
            index = repeat_groups(state.kept, key.shape[1])[..., None]
            shape = (*key.shape[:2], state.length, key.shape[3])
            key = key.new_zeros(shape).scatter(2, index.expand_as(key), key)
        whole = replace(call, key=key, mask=unlowered(call, state), kept=None)
        shares, _ = structure.log_shares(whole)  # batch x maps x query blocks x key blocks
        return shares[:, :, -1].exp().gather(-1, positions // structure.size)


def groups_of(call: Call) -> int:
    """How many sets of keys heads may keep."""
    return 1 if call.parts.heads.mixes_logits else call.present_value.shape[1]


def positions_of(call: Call, state: State) -> Tensor:
    """The positions of the keys that a state has: batch x groups x keys."""
    if state.kept is not None:
        return state.kept
    every = torch.arange(call.keys, device=call.query.device)
    return every.expand(len(call.query), groups_of(call), -1)


def by_group(scores: Tensor, groups: int) -> Tensor:
    """batch x groups, heads or maps x keys -> the mean of each group: batch x groups x keys."""
    return scores.unflatten(1, (groups, -1)).mean(2)


def unlowered(call: Call, state: State) -> Mask:
    """The mask of a call as rules over positions, whatever keys are left."""
    patterns = (*state.mask.patterns, *call.parts.structure.patterns())
    return replace(state.mask, patterns=patterns)


def weight_received(call: Call) -> Tensor:
    """The weight of each key, summed over the queries: batch x heads x keys."""
    if call.used_weights is not None:
        return call.used_weights.abs().sum(2)
    total = 0.0
    for rows in range(0, call.queries, ROWS_AT_ONCE):
        part = call if call.queries == 1 else call.rows(slice(rows, rows + ROWS_AT_ONCE))
        total = total + part.weights_by(call.parts.normalizer.expected).abs().sum(2)
    assert isinstance(total, Tensor)
    return total
