"""How a model's maps are stacked: from the units of the input up to the decisions.

`layers` lists one matrix for each step, from the input upwards; entry (i, j) is what state i
after the step takes from state j before it. States of the input and, where a text is written, of
the text so far stand side by side. Only what maps show is here: what a recurrent cell carries
from place to place is seen by no map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnlab.explain.subject import Subject, reader_of
from attnlab.models.prediction import SITE as PREDICTION

Maps = dict[str, Tensor]  # site -> batch x queries x keys, heads already brought together


class Rule(Protocol):
    """What a residual connection keeps, beside what a map brings."""

    def around(self, weights: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of both: weights (... queries x keys) and kept (queries x queries)."""
        ...

    def settled(self, relevance: Tensor) -> Tensor:
        """What has come together below a decoder or head: batch x states x inputs."""
        ...


@dataclass(frozen=True)
class Network:
    """The steps of one batch: below a memory, and from the memory to the decisions."""

    encoder: list[Tensor]  # each batch x states x states
    memory: Tensor  # batch x keys: where the looked-at units stand among the states
    readers: list[Tensor]  # each batch x after x before
    queries: int

    def relevance(self, rule: Rule) -> Tensor:
        """The product of all steps: batch x queries x keys."""
        states = self.states
        found = torch.eye(states, dtype=self.readers[0].dtype, device=self.memory.device)
        found = found.expand(len(self.memory), -1, -1)
        for step in self.encoder:
            found = step @ found
        rows = self.memory[:, :, None].expand(-1, -1, states)
        memory = rule.settled(found).gather(1, rows)  # batch x keys x states
        columns = self.memory[:, None, :].expand(-1, memory.shape[1], -1)
        found = memory.gather(2, columns)  # batch x keys x keys
        for step in self.readers:
            below = step.shape[-1] - found.shape[1]  # the text so far starts with nothing
            found = step @ torch.nn.functional.pad(found, (0, 0, below, 0))
        return found[:, : self.queries]

    @property
    def states(self) -> int:
        """Of all inputs together, or, where none looks at another, as many as it takes."""
        return self.encoder[0].shape[-1] if self.encoder else int(self.memory.max()) + 1


def network(subject: Subject, maps: Maps, rule: Rule) -> Network:
    """The steps that a model's maps make."""
    readers = list(_readers(subject, maps, rule))
    layers = [maps[site].double() for site in _layers(maps, "encoder.self")]
    return Network(
        [_residual(each, rule) for each in layers],
        _places(subject),
        readers,
        subject.decisions.shape[1],
    )


def _readers(subject: Subject, maps: Maps, rule: Rule) -> Iterator[Tensor]:
    """From the memory to the decisions."""
    if PREDICTION in maps:
        yield maps[PREDICTION].double()
    if "pooling" in maps:
        yield maps["pooling"].double().mean(1, keepdim=True)  # several looks count alike
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
    found = [site for site in maps if site.startswith(f"{stem}.")]
    return sorted(found, key=lambda site: int(site.rpartition(".")[2]))


@torch.no_grad()
def _places(subject: Subject) -> Tensor:
    """Where the looked-at units stand among the encoder's states: batch x keys.

    Several inputs are read as one sequence, the real units of all of them first.
    """
    reader = reader_of(subject.model)
    masks = {
        name: subject.keys if name == reader.attended else embedder(subject.batch.inputs[name]).mask
        for name, embedder in zip(reader.names, reader.embedders, strict=True)
    }
    order = (~torch.cat(list(masks.values()), 1)).long().argsort(dim=1, stable=True)
    back = order.argsort(1)  # place in the list of inputs -> place among the states
    widths = [mask.shape[1] for mask in masks.values()]
    return back.split(widths, 1)[reader.names.index(reader.attended)]
