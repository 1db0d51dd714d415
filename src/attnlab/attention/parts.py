"""The five parts of a mechanism, as base classes: what each may do, and what it does by default.

A call of attention goes through them in this order:

1. `Position.add_to_query` / `add_to_key` add absolute positions to queries and keys,
2. `Heads` projects and splits: batch x maps x length x width,
3. `Position.transform_query` / `transform_key` rotate or shift what is compared,
4. `Score.prepare_query` / `prepare_key` do what depends on one side alone (and can be cached),
5. `Score` compares each query with each key, `Position.bias` is added: the logits,
6. `Heads.mix_logits`, then `Structure.weights` with `Normalizer` turns logits into weights,
7. `Heads.mix_weights`, the weighted sum of values, `Heads.merge`.

Parts are built as `Part(shape, **settings)`, heads as `Heads(inputs, **settings)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor, nn

from attnlab.attention.blocks import Blocks, blocks_of
from attnlab.attention.mask import Mask, Pattern
from attnlab.attention.tensors import safe_log

if TYPE_CHECKING:
    from attnlab.attention.call import Call

# logits, and where they are allowed -> weights
Normalize = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Inputs:
    """The widths that the model passes, and the one it wants back."""

    query_dim: int
    key_dim: int
    value_dim: int
    output_dim: int | None
    max_length: int


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
    """The weights of earlier queries, for the parts that depend on them."""

    previous: Tensor  # batch x maps x keys, the last query's weights
    total: Tensor  # batch x maps x keys, the sum over all earlier queries
    steps: int  # how many queries came before

    def after(self, weights: Tensor) -> Past:
        """The past after one more query with these weights (batch x maps x keys)."""
        return Past(weights, self.total + weights, self.steps + 1)

    def select(self, index: Tensor) -> Past:
        return replace(self, previous=self.previous[index], total=self.total[index])

    def detach(self) -> Past:
        return replace(self, previous=self.previous.detach(), total=self.total.detach())


class Score(nn.Module):
    """How well a key matches a query: batch x maps x queries x keys logits."""

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
        """The logits of one query row, given the weights of earlier ones."""
        return self(query, key)

    @property
    def recurrent(self) -> bool:
        """Whether it depends on the weights of earlier queries."""
        return type(self).step is not Score.step


class Normalizer(nn.Module):
    """Logits to weights. Forbidden keys get exactly zero, also where all are forbidden."""

    samples: ClassVar[bool] = False  # samples while training
    needs_reward: ClassVar[bool] = False  # what it samples has no gradient: see `reinforce`

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def step(self, logits: Tensor, allowed: Tensor | None, past: Past) -> Tensor:
        """The weights of one query row, given those of earlier ones."""
        return self(logits, allowed)

    @property
    def recurrent(self) -> bool:
        """Whether it depends on the weights of earlier queries."""
        return type(self).step is not Normalizer.step

    def extra_logit(self) -> Tensor | None:
        """maps, or one for all: the logit of a key without a value, in forms of softmax."""
        return None

    def expected(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The weights as a map to show: deterministic."""
        return self(logits, allowed)

    def log(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The logarithm of the weights; forbidden keys get any finite number: `mark_forbidden`."""
        return safe_log(self.expected(logits, allowed))


class Structure(nn.Module):
    """Which keys a query may attend to, and what else is done to the weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    block_size: int | None = None  # positions of the blocks that it chooses; None: it chooses none
    recent: int = 0  # earlier queries that a choice may depend on

    def patterns(self) -> tuple[Pattern, ...]:
        """Rules over positions, joined to the mask of every call."""
        return ()

    def choose(self, call: Call) -> Tensor | None:
        """The blocks that a call reads, batch x maps x query blocks x key blocks; None: all."""
        return None

    def allowed(self, call: Call) -> Tensor | None:
        """Which keys each query of a call may attend to; None where every key is allowed."""
        return call.mask.allowed(call.positions, call.keys)

    def blocks(self, call: Call, size: int) -> tuple[Blocks, ...]:
        """The blocks of `size` positions that a call reads, and the pairs allowed in them."""
        sides = call.start, call.queries, call.keys
        return blocks_of(call.mask, *sides, size, call.query.device)

    def weights(self, call: Call, logits: Tensor, normalize: Normalize) -> Tensor:
        """Logits to weights, both batch x maps x queries x keys."""
        return normalize(logits, call.allowed)

    def log_weights(self, call: Call, logits: Tensor, normalizer: Normalizer) -> Tensor:
        """Logits to log weights."""
        return normalizer.log(logits, call.allowed)

    def logit_bias(self, call: Call) -> Tensor | None:
        """Added to the logits: broadcasts to batch x maps x queries x keys."""
        return None

    def step_bias(self, past: Past) -> Tensor | None:
        """Added to the logits of one query row, given the weights of earlier ones."""
        return None

    @property
    def recurrent(self) -> bool:
        """Whether it depends on the weights of earlier queries."""
        return type(self).step_bias is not Structure.step_bias


class Position(nn.Module):
    """How positions enter the mechanism. By default they do not."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def add_to_query(self, query: Tensor, positions: Tensor) -> Tensor:
        """batch x queries x query_dim, before the heads."""
        return query

    def add_to_key(self, key: Tensor, positions: Tensor) -> Tensor:
        """batch x keys x key_dim, before the heads."""
        return key

    def transform_query(self, query: Tensor, positions: Tensor) -> Tensor:
        """batch x maps x queries x width, before the score."""
        return query

    def transform_key(self, key: Tensor, positions: Tensor) -> Tensor:
        """batch x key_maps x keys x width, before the score."""
        return key

    def bias(self, query: Tensor, positions: Tensor, keys: int, scale: float) -> Tensor | None:
        """Added to the logits; `query` as the heads made it, `scale` the score's own."""
        return None


class Heads(nn.Module):
    """How queries, keys and values are split over maps, and the contexts joined again."""

    shape: Shape
    count: int  # heads of the map: maps after mixing
    output_dim: int

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs

    def project_query(self, query: Tensor) -> Tensor:
        """batch x queries x query_dim -> batch x maps x queries x width."""
        raise NotImplementedError

    def project_key(self, key: Tensor) -> Tensor:
        """batch x keys x key_dim -> batch x key_maps x keys x width."""
        raise NotImplementedError

    def project_value(self, value: Tensor, mask: Tensor | None) -> Tensor:
        """batch x keys x value_dim -> batch x (count or fewer) x keys x width."""
        raise NotImplementedError

    def mix_logits(self, logits: Tensor) -> Tensor:
        """batch x maps x queries x keys."""
        return logits

    def mix_weights(self, weights: Tensor) -> Tensor:
        """batch x maps x queries x keys -> batch x count x queries x keys."""
        return weights

    @property
    def mixes_weights(self) -> bool:
        """Whether maps are combined after they were normalized."""
        return type(self).mix_weights is not Heads.mix_weights

    @property
    def mixes_logits(self) -> bool:
        """Whether maps are combined before they are normalized."""
        return type(self).mix_logits is not Heads.mix_logits

    def mix_contexts(self, contexts: Tensor) -> Tensor:
        """What `mix_weights` does, done to contexts: batch x maps x queries x width."""
        return contexts

    def merge(self, context: Tensor, query: Tensor) -> Tensor:
        """batch x count x queries x width -> batch x queries x output_dim."""
        raise NotImplementedError


class Parts(NamedTuple):
    """The five parts of one mechanism."""

    score: Score
    normalizer: Normalizer
    structure: Structure
    position: Position
    heads: Heads
