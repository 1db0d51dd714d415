"""`Probe`: maps of a few examples, computed outside the forward pass; `Statistics` of maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.taps import Selection, resolve
from attnlab.attention.tensors import entropy as row_entropy
from attnlab.attention.tensors import joined_rows
from attnlab.attention.unrolled import unroll


@dataclass(frozen=True)
class Statistics:
    """Figures of a map, computed without holding the whole map."""

    entropy: Tensor  # examples x heads x queries, in nats; of the weights above zero
    maximum: Tensor  # examples x heads x queries, the largest weight
    distance: Tensor  # examples x heads x queries, weighted mean of |query - key|
    received: Tensor  # examples x heads x keys, the mass that each key gets from all queries


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The figures of one map from those of its rows, whose keys may grow from part to part."""
    received = parts[0].received
    for part in parts[1:]:
        received = _longer(received, part.received) + part.received
    names = ("entropy", "maximum", "distance")
    entropy, maximum, distance = (torch.cat([getattr(p, n) for p in parts], 2) for n in names)
    return Statistics(entropy, maximum, distance, received)


def statistics(selection: Selection, calls: Sequence[Call], rows_at_once: int) -> Statistics:
    """Read the maps of all calls, `rows_at_once` queries at a time."""
    parts = [
        of_weights(weights, call.positions)
        for call, weights in _tiles(selection, calls, rows_at_once)
    ]
    if not parts:
        raise RuntimeError(f"nothing passed {selection.attention.site} while probed")
    return joined(parts)


def of_weights(weights: Tensor, positions: Tensor, row_weight: Tensor | None = None) -> Statistics:
    """The figures of a map, examples x heads x queries x keys.

    Args:
        positions: queries, where each stands on the axis of the keys.
        row_weight: examples x queries, how often each row counts in `received`; None: once.
    """
    keys = torch.arange(weights.shape[-1], device=weights.device)
    apart = (positions[:, None] - keys).abs().to(weights.dtype)  # queries x keys
    counted = weights if row_weight is None else weights * row_weight[:, None, :, None]
    return Statistics(
        entropy=row_entropy(weights),
        maximum=weights.amax(-1),
        distance=(weights * apart).sum(-1),
        received=counted.sum(2),
    )


def _tiles(
    selection: Selection, calls: Sequence[Call], rows_at_once: int
) -> Iterator[tuple[Call, Tensor]]:
    """Each tile of rows as a call, and its weights: examples x heads x rows x keys."""
    for call in calls:
        past = call.past
        for first in range(0, call.queries, rows_at_once):
            tile = call.rows(slice(first, first + rows_at_once))
            if selection.attention.recurrent:
                unrolled = unroll(replace(tile, past=past))
                past, weights = unrolled.past, unrolled.weights
            else:
                weights = tile.expected
            yield tile, selection.pick(weights)


def _longer(received: Tensor, mass: Tensor) -> Tensor:
    """The keys of self-attention grow from step to step: earlier sums get zeros for new keys."""
    return torch.nn.functional.pad(received, (0, mass.shape[-1] - received.shape[-1]))


@dataclass
class _Site:
    """Collects the calls at one site, for the chosen examples."""

    selection: Selection
    examples: Sequence[int] | None
    calls: list[Call] = field(default_factory=list)

    def record(self, call: Call) -> None:
        batch = call.query.shape[0]
        chosen = range(batch) if self.examples is None else [e for e in self.examples if e < batch]
        index = torch.tensor(list(chosen), dtype=torch.long, device=call.query.device)
        self.calls.append(call.sample(index))


class Probe:
    """While open, keeps detached queries and keys of `examples` at each selector's site.

    Weights are recomputed from them when `maps` or `statistics` is called: before dropout, with
    nothing sampled, and with the mask of the forward pass. Of a stepwise decoder the steps are
    joined as queries.
    """

    def __init__(
        self,
        model: nn.Module,
        selectors: Sequence[str],
        *,
        examples: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Choose what to keep.

        Args:
            model: The model whose maps are wanted.
            selectors: Names of maps, such as `decoder.cross.-1/heads=mean`; see `selectors`.
            examples: Indices in each batch; None keeps all.
            heads: Heads of the maps that are returned; None leaves it to the selectors.
            rows: Queries of the maps that are returned; None returns all.

        Raises:
            UserError: A selector names no map of the model.
        """
        self.heads, self.rows = heads, rows
        self.sites = {name: _Site(resolve(model, name), examples) for name in selectors}

    def __enter__(self) -> Probe:
        for site in self.sites.values():
            site.selection.attention.attached.observers.append(site)
        return self

    def __exit__(self, *error: object) -> None:
        for site in self.sites.values():
            site.selection.attention.attached.observers.remove(site)

    def clear(self) -> None:
        """Forget the calls so far."""
        for site in self.sites.values():
            site.calls.clear()

    @torch.no_grad()
    def maps(self) -> dict[str, Tensor]:
        """selector -> examples x heads x queries x keys."""
        return {name: self._map(site) for name, site in self.sites.items() if site.calls}

    @torch.no_grad()
    def statistics(self, rows_at_once: int = 128) -> dict[str, Statistics]:
        """Figures of each map, read a few rows at a time: queries x keys is never in memory."""
        return {
            name: statistics(site.selection, site.calls, rows_at_once)
            for name, site in self.sites.items()
            if site.calls
        }

    def _map(self, site: _Site) -> Tensor:
        attention = site.selection.attention
        if len(site.calls) == 1:
            maps = attention.maps(site.calls[0], rows=self.rows, heads=self.heads)
        else:
            maps = joined_rows([attention.maps(c, heads=self.heads) for c in site.calls], 0.0)
            maps = maps if self.rows is None else maps[:, :, self.rows]
        return maps if self.heads is not None else site.selection.pick(maps)
