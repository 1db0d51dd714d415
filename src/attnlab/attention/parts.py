"""The five parts of a mechanism, as base classes: what each may do, and what it does by default.

A call of attention goes through them in this order:

1. `Position.mark` adds absolute positions to queries and keys,
2. `Heads` projects and splits: batch x maps x length x width,
3. `Position.turn_query` / `turn_key` rotate or shift what is compared,
4. `Score.prepare_query` / `prepare_key` do what depends on one side alone (and can be cached),
5. `Score` compares each query with each key, `Position.bias` is added: the logits,
6. `Heads.mix_logits`, then `Structure.weigh` with `Normalizer` turns logits into weights,
7. `Heads.mix_weights`, the weighted sum of values, `Heads.merge`.

A part is built as `Part(shape, **settings)`; heads, which decide the shape, as
`Heads(inputs, **settings)`. To add one, subclass and override what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from attnlab.attention.mask import Mask, Pattern

if TYPE_CHECKING:
    from attnlab.attention.call import Call

Normalize = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Inputs:
    """What comes in from the model, and what it wants back."""

    query_dim: int
    key_dim: int
    value_dim: int
    output_dim: int | None
    max_length: int
    self_attention: bool


@dataclass(frozen=True)
class Shape:
    """What the heads make of the inputs: how many maps, and the widths that a score compares."""

    inputs: Inputs
    maps: int  # maps that the score makes (two a head in differential attention)
    key_maps: int  # groups of keys, each shared by maps / key_maps maps
    query_width: int
    key_width: int
    value_width: int

    @property
    def max_length(self) -> int:
        return self.inputs.max_length


@dataclass(frozen=True)
class Past:
    """What earlier queries looked at, for the parts that ask."""

    previous: Tensor  # batch x maps x keys, the last query's weights
    total: Tensor  # batch x maps x keys, the sum over all earlier queries
    steps: int  # how many queries came before

    def after(self, weights: Tensor) -> Past:
        """The past once a query has looked with `weights` (batch x maps x keys)."""
        return Past(weights, self.total + weights, self.steps + 1)

    def select(self, index: Tensor) -> Past:
        return replace(self, previous=self.previous[index], total=self.total[index])

    def detach(self) -> Past:
        return replace(self, previous=self.previous.detach(), total=self.total.detach())


def per_map(states: Tensor, weight: Tensor) -> Tensor:
    """Each map's states times its own matrix, one product a map however short the sequences are.

    (Broadcasting over the batch would read the matrix again for each example.)
    """
    batch, _, length, _ = states.shape  # batch x maps x length x width
    rows = states.transpose(0, 1).flatten(1, 2)  # maps x batch * length x width
    made = rows @ weight.to(states.dtype)  # weight: maps x width x width made
    return made.unflatten(1, (batch, length)).transpose(0, 1)


class Score(nn.Module):
    """How well a key answers a query: batch x maps x queries x keys logits."""

    form: ClassVar[str] = "other"  # which kernels can serve it, see `config.combinations`
    recurrent: ClassVar[bool] = False  # asks what earlier queries looked at
    scale: float = 1.0  # what the inner product is multiplied by

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def prepare_query(self, query: Tensor) -> Tensor:
        """batch x maps x queries x width -> the same for what is compared."""
        return query

    def prepare_key(self, key: Tensor, mask: Mask) -> Tensor:
        """batch x key_maps x keys x width -> the same for what is compared."""
        return key

    def step(self, query: Tensor, key: Tensor, past: Past) -> Tensor:
        """The logits of one query row, where `past` is known."""
        return self(query, key)


class Normalizer(nn.Module):
    """Logits to weights. Forbidden keys get exactly zero, also where all are forbidden."""

    recurrent: ClassVar[bool] = False
    draws: ClassVar[bool] = False  # samples while training
    needs_reward: ClassVar[bool] = False  # what it draws has no gradient: see `reinforce`

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def step(self, logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
        """The weights of one query row, where `past` is known."""
        return self(logits, allowed)

    def extra_logit(self) -> Tensor | None:
        """maps, or one for all: the logit of a key that is not there, in forms of softmax."""
        return None

    def settled(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The weights as a map to look at: nothing drawn."""
        return self(logits, allowed)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The logarithm of the weights; forbidden keys get a large negative finite number."""
        return safe_log(self.settled(logits, allowed))


class Structure(nn.Module):
    """Which keys a query may look at, and what is done to the weights besides."""

    recurrent: ClassVar[bool] = False

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def patterns(self) -> tuple[Pattern, ...]:
        """Rules over positions, joined to the mask of every call."""
        return ()

    def weigh(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        """Logits to weights, both batch x maps x queries x keys."""
        return normalize(logits, call.allowed)

    def weigh_log(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        """Logits to log weights."""
        return normalizer.log(logits, call.allowed)

    def step_bias(self, past: Past) -> Tensor | None:
        """Added to the logits of one query row, where `past` is known."""
        return None


class Position(nn.Module):
    """How the mechanism knows where queries and keys stand. By default it does not."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def mark_query(self, query: Tensor, positions: Tensor) -> Tensor:
        """batch x queries x query_dim, before the heads."""
        return query

    def mark_key(self, key: Tensor, positions: Tensor) -> Tensor:
        """batch x keys x key_dim, before the heads."""
        return key

    def turn_query(self, query: Tensor, positions: Tensor) -> Tensor:
        """batch x maps x queries x width, before the score."""
        return query

    def turn_key(self, key: Tensor, positions: Tensor) -> Tensor:
        """batch x key_maps x keys x width, before the score."""
        return key

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor | None:
        """Added to the logits; `query` as it leaves the heads, `scale` the score's own."""
        return None


class Heads(nn.Module):
    """How queries, keys and values are split over maps, and the contexts brought together."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs

    shape: Shape
    count: int  # heads as one sees them: maps after mixing
    output_dim: int

    def queries(self, query: Tensor) -> Tensor:
        """batch x queries x query_dim -> batch x maps x queries x width."""
        raise NotImplementedError

    def keys(self, key: Tensor) -> Tensor:
        """batch x keys x key_dim -> batch x key_maps x keys x width."""
        raise NotImplementedError

    def values(self, value: Tensor, mask: Tensor | None) -> Tensor:
        """batch x keys x value_dim -> batch x (count or fewer) x keys x width."""
        raise NotImplementedError

    def mix_logits(self, logits: Tensor) -> Tensor:
        """batch x maps x queries x keys."""
        return logits

    def mix_weights(self, weights: Tensor) -> Tensor:
        """batch x maps x queries x keys -> batch x count x queries x keys."""
        return weights

    def mix_contexts(self, contexts: Tensor) -> Tensor:
        """What `mix_weights` does, done to contexts: batch x maps x queries x width."""
        return contexts

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        """batch x count x queries x width -> batch x queries x output_dim."""
        raise NotImplementedError


def spread(tensor: Tensor, maps: int) -> Tensor:
    """Give each map its own view of shared keys or values: batch x maps x keys x width."""
    shared = maps // tensor.shape[1]
    return tensor if shared == 1 else tensor.repeat_interleave(shared, dim=1)


def safe_log(weights: Tensor) -> Tensor:
    """log of the weights; zero weights give the log of the smallest number and no gradient."""
    return weights.clamp_min(torch.finfo(weights.dtype).tiny).log()


def wide(tensor: Tensor) -> Tensor:
    """At least fp32: sums over many keys are made in nothing narrower."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
