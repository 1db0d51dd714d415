"""`MapStack`: the maps of a model as steps from the units of the input up to the decisions.

A step is a matrix whose entry (i, j) is what state i after it takes from state j before it. States
of the input and, where a text is written, of the text so far stand side by side. Maps show no
recurrence: what a cell carries from step to step is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnlab.explain.subject import Subject, reader_of
from attnlab.models.pooling import PREDICTION_SITE

Maps = dict[str, Tensor]  # site -> batch x queries x keys, heads merged


class Rule(Protocol):
    """How a residual connection and a map add up."""

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of both: weights (... queries x keys) and kept (queries x queries)."""
        ...

    def normalized(self, relevance: Tensor) -> Tensor:
        """The product of the encoder's steps, for what stands above: batch x states x inputs."""
        ...


@dataclass(frozen=True)
class MapStack:
    """The steps of one batch: below a memory, and from the memory to the decisions."""

    encoder: list[Tensor]  # each batch x states x states
    memory: Tensor  # batch x keys: the states of the attended units
    readers: list[Tensor]  # each batch x after x before
    queries: int

    def relevance(self, rule: Rule) -> Tensor:
        """The product of all steps: batch x queries x keys."""
        states = self.states
        product = torch.eye(states, dtype=self.readers[0].dtype, device=self.memory.device)
        product = product.expand(len(self.memory), -1, -1)
        for step in self.encoder:
            product = step @ product
        rows = self.memory[:, :, None].expand(-1, -1, states)
        memory = rule.normalized(product).gather(1, rows)  # batch x keys x states
        columns = self.memory[:, None, :].expand(-1, memory.shape[1], -1)
        product = memory.gather(2, columns)  # batch x keys x keys
        for step in self.readers:
            below = step.shape[-1] - product.shape[1]  # states of the text so far start at zero
            product = step @ torch.nn.functional.pad(product, (0, 0, below, 0))
        return product[:, : self.queries]

    @property
    def states(self) -> int:
        """How many states all inputs have together."""
        return self.encoder[0].shape[-1] if self.encoder else int(self.memory.max()) + 1


def map_stack(subject: Subject, maps: Maps, rule: Rule) -> MapStack:
    """The steps of a model, from its maps."""
    readers = list(_readers(subject, maps, rule))
    layers = [maps[site].double() for site in _layers(maps, "encoder.self")]
    return MapStack(
        [_residual(each, rule) for each in layers],
        _positions(subject),
        readers,
        subject.decisions.shape[1],
    )


def _readers(subject: Subject, maps: Maps, rule: Rule) -> Iterator[Tensor]:
    """From the memory to the decisions."""
    if PREDICTION_SITE in maps:
        yield maps[PREDICTION_SITE].double()
    if "pooling" in maps:
        yield maps["pooling"].double().mean(1, keepdim=True)  # hops have equal weight
    if "tagger.self.0" in maps:
        step = _residual(maps["tagger.self.0"].double(), rule)
        yield subject.of_decisions(step)
    own = _layers(maps, "decoder.self")
    for number, site in enumerate(_layers(maps, "decoder.cross")):
        cross = maps[site].double()
        if not own:  # a recurrent decoder: nothing but its one map
            yield cross
            continue
        yield _beside(_residual(maps[own[number]].double(), rule), cross.shape[-1])
        yield _crossed(cross, rule)


def _residual(weights: Tensor, rule: Rule) -> Tensor:
    eye = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    mapped, kept = rule.around(weights, eye)
    return mapped + kept


def _beside(own: Tensor, memory: int) -> Tensor:
    """A step of the text's states while the memory stays: block diagonal."""
    stays = torch.eye(memory, dtype=own.dtype, device=own.device).expand(len(own), -1, -1)
    upper = torch.nn.functional.pad(own, (0, memory))
    lower = torch.nn.functional.pad(stays, (own.shape[-1], 0))
    return torch.cat([upper, lower], 1)


def _crossed(cross: Tensor, rule: Rule) -> Tensor:
    """The text's states take from the memory, which stays."""
    queries, memory = cross.shape[1:]
    eye = torch.eye(queries, dtype=cross.dtype, device=cross.device)
    mapped, kept = rule.around(cross, eye)
    upper = torch.cat([kept.expand(len(cross), -1, -1), mapped], 2)
    stays = torch.eye(memory, dtype=cross.dtype, device=cross.device).expand(len(cross), -1, -1)
    return torch.cat([upper, torch.nn.functional.pad(stays, (queries, 0))], 1)


def _layers(maps: Maps, stem: str) -> list[str]:
    sites = [site for site in maps if site.startswith(f"{stem}.")]
    return sorted(sites, key=lambda site: int(site.rpartition(".")[2]))


@torch.no_grad()
def _positions(subject: Subject) -> Tensor:
    """The positions of the attended units among the encoder's states: batch x keys.

    Several inputs are one sequence, whose real units come first.
    """
    reader = reader_of(subject.model)
    masks = {
        name: subject.keys if name == reader.attended else embedder(subject.batch.inputs[name]).mask
        for name, embedder in zip(reader.names, reader.embedders, strict=True)
    }
    order = (~torch.cat(list(masks.values()), 1)).long().argsort(dim=1, stable=True)
    back = order.argsort(1)  # position in the list of inputs -> position among the states
    widths = [mask.shape[1] for mask in masks.values()]
    return back.split(widths, 1)[reader.names.index(reader.attended)]
