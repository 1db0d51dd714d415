"""Several trained models that answer as one (deep ensembles, Lakshminarayanan et al. 2017).

`together` makes the first model give the scores of all: whatever asks it, evaluates it or decodes
with it meets the ensemble. The others are found with `members`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from attnlab.attention.mechanism import MapChange
from attnlab.attention.taps import Intervention, Tap
from attnlab.config.evaluation import Combine
from attnlab.models.builder import Decoder
from attnlab.models.memory import Memory
from attnlab.models.units import Scores, whole

TIES = 1e-3  # share of a vote that goes to the mean of probabilities, so that it breaks ties
COMPANIONS = "companions"  # attribute of the first model


class Member(NamedTuple):
    """A model of an ensemble, with the selector of its map."""

    model: nn.Module
    map: str


def combined(scores: Sequence[Scores], how: Combine, dim: int = -1) -> Tensor:
    """One tensor of scores from those of several models, choices along `dim`.

    Args:
        scores: of the same choices; -inf where one may not be chosen.
        how: the mean of probabilities, of scores, or the share of models that choose each.
        dim: where choices are.
    """
    whole_ones = [whole(each) for each in scores]
    if how == "logits":
        return torch.stack(whole_ones).mean(0)
    probabilities = torch.stack([each.float().softmax(dim) for each in whole_ones]).mean(0)
    if how == "votes":
        chosen = [torch.zeros_like(p).scatter(dim, p.argmax(dim, True), 1.0) for p in whole_ones]
        votes = torch.stack(chosen).mean(0)
        probabilities = (1 - TIES) * votes + TIES * probabilities
    return probabilities.log()


def together(
    models: Sequence[Member], combine: Callable[[Sequence[Any]], Any], how: Combine
) -> nn.Module:
    """The first model, from now on with the scores of all.

    Args:
        models: of the same task and data; they may be of different kinds.
        combine: makes what a forward pass returns of that of each model.
        how: the same for the steps of decoders.
    """
    first, *others = models

    def hook(module: nn.Module, args: Any, how_called: dict[str, Any], own: Any) -> Any:
        return combine([own, *(each.model(*args, **how_called) for each in others)])

    first.model.register_forward_hook(hook, with_kwargs=True)
    setattr(first.model, COMPANIONS, (tuple(models), how))
    return first.model


def members(model: nn.Module, selector: str = "") -> Sequence[Member]:
    """The models of an ensemble, each with its own map; else the model with the one named."""
    return getattr(model, COMPANIONS, ((Member(model, selector),), None))[0]


class MeanTap:
    """The mean of the same map of several models, and of all its heads; used like a `Tap`."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps, self.open = taps, ExitStack()

    def __enter__(self) -> Self:
        for each in self.taps:
            self.open.enter_context(each)
        return self

    def __exit__(self, *error: object) -> None:
        self.open.close()

    def clear(self) -> None:
        """Forget the calls so far."""
        for each in self.taps:
            each.clear()

    def weights(self) -> Tensor:
        """batch x 1 x queries x keys."""
        return torch.stack([each.weights().float().mean(1, True) for each in self.taps]).mean(0)

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        return self.weights().clamp_min(torch.finfo(torch.float32).tiny).log()


OpenTap = Tap | MeanTap


def tap(model: nn.Module, selector: str) -> OpenTap:
    """The tap of a map; of an ensemble, the mean of the maps of its members."""
    taps = [Tap(*each) for each in members(model, selector)]
    return taps[0] if len(taps) == 1 else MeanTap(taps)


@contextmanager
def changed_map(model: nn.Module, selector: str, change: MapChange) -> Iterator[None]:
    """While open, a map is another one; in an ensemble, that of every member."""
    with ExitStack() as stack:
        for each in members(model, selector):
            stack.enter_context(Intervention(*each, change))
        yield


class JointState:
    """What the decoders of an ensemble keep between steps."""

    def __init__(self, states: Sequence[Any]) -> None:
        self.states = states

    def reorder(self, rows: Tensor) -> None:
        for state in self.states:
            state.reorder(rows)

    def select(self, rows: Tensor) -> JointState:
        return JointState([state.select(rows) for state in self.states])


class JointDecoder(Decoder):
    """The decoders of an ensemble, each with the memory that its model has of the input.

    A search over its steps is one over the scores of all.
    """

    def __init__(self, decoders: Sequence[tuple[Decoder, Memory]], how: Combine) -> None:
        super().__init__()
        self.decoders = decoders
        self.how: Combine = how

    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        return combined([decoder(units, own) for decoder, own in self.decoders], self.how)

    def start(self, memory: Memory) -> JointState:
        return JointState([decoder.start(own) for decoder, own in self.decoders])

    def step(self, units: Tensor, state: JointState) -> Tensor:
        pairs = zip(self.decoders, state.states, strict=True)
        return combined([decoder.step(units, each) for (decoder, _), each in pairs], self.how)


def joint_decoder(
    model: nn.Module, decoder_of: Callable[[Any], tuple[Decoder, Memory]]
) -> tuple[Decoder, Memory]:
    """The decoder of a model with its memory; of an ensemble, the joint one."""
    decoders = [decoder_of(each.model) for each in members(model)]
    decoder, memory = decoders[0]
    if len(decoders) == 1:
        return decoder, memory
    return JointDecoder(decoders, getattr(model, COMPANIONS)[1]), memory
