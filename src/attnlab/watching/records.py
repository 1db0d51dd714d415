"""What a watch keeps: the calls of a site, or the maps and figures that were asked for of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.call import Call
from attnlab.attention.dot_product import FORBIDDEN, DotProductCall
from attnlab.attention.mechanism import Attention
from attnlab.attention.probes import Statistics, joined, of_weights

Rows = int | slice | Sequence[int]


class WatchedCall(Protocol):
    """One use of an attention, whose map can be computed again."""

    @property
    def queries(self) -> int: ...

    @property
    def keys(self) -> int: ...

    def pick(self, rows: Tensor | None, heads: Sequence[int] | None) -> WatchedCall: ...

    def weights(self) -> Tensor: ...

    def log_weights(self) -> Tensor: ...

    def statistics(self, row_weight: Tensor | None) -> Statistics: ...

    def counted(self) -> Tensor | None:
        """batch x queries, bool: the queries that are not padding, where that is known."""
        ...


@dataclass(frozen=True)
class MechanismCall:
    """A call of our own `Attention`, of whatever parts it is made."""

    attention: Attention
    call: Call
    rows: Tensor | None = None
    heads: Sequence[int] | None = None

    @property
    def queries(self) -> int:
        return self.call.queries if self.rows is None else len(self.rows)

    @property
    def keys(self) -> int:
        return self.call.keys

    def pick(self, rows: Tensor | None, heads: Sequence[int] | None) -> MechanismCall:
        return replace(self, rows=rows, heads=heads)

    def weights(self) -> Tensor:
        return self.attention.maps(self.call, rows=self.rows, heads=self.heads)

    def log_weights(self) -> Tensor:
        return self.attention.maps(self.call, rows=self.rows, heads=self.heads, log=True)

    def statistics(self, row_weight: Tensor | None) -> Statistics:
        positions = self.call.positions
        positions = positions if self.rows is None else positions[self.rows]
        return of_weights(self.weights(), positions, row_weight)

    def counted(self) -> Tensor | None:
        mask = self.call.mask.keys
        same = self.attention.role == "self" and self.call.queries == self.call.keys
        if mask is None or not same:
            return None
        return mask if self.rows is None else mask[:, self.rows]


@dataclass(frozen=True)
class Wanted:
    """What is to be kept of each call."""

    heads: Sequence[int] | None
    rows: Rows | None
    maps: bool
    statistics: bool


@dataclass(frozen=True)
class Record:
    """What was kept of one call."""

    rows: Tensor  # where its kept queries stand, counted from the first of the site
    queries: int  # all of them, kept or not
    keys: int
    first_key: int  # where its keys begin, on the axis of the keys of the site
    call: WatchedCall | None  # kept where a gradient may be asked for
    map: Tensor | None  # batch x heads x rows x keys, else
    statistics: Statistics | None

    def weights(self) -> Tensor:
        if self.map is not None:
            return self.map
        assert self.call is not None
        return self.call.weights()

    def log_weights(self) -> Tensor:
        if self.call is not None:
            return self.call.log_weights()
        assert self.map is not None
        return self.map.log().clamp_min(FORBIDDEN)


@dataclass
class Site:
    """The calls at one site: those of the last forward pass, or of the steps of a generation."""

    name: str
    role: str  # self | cross | pooling
    records: list[Record] = field(default_factory=list)

    def continues(self, queries: int, keys: int) -> bool:
        """Whether a call goes on where the last one ended, with its keys in a cache.

        The keys have then grown by the queries; those out of a sliding window may be gone.
        """
        if not self.records or queries >= keys:
            return False
        end = self.records[-1].first_key + self.records[-1].keys + queries
        grown = keys == self.records[-1].keys + queries
        return grown or (queries == 1 and keys <= self.records[-1].keys and end >= keys)

    def add(self, call: WatchedCall, wanted: Wanted, *, continued: bool) -> None:
        """Keep what is wanted of a call; one that does not go on takes the place of all before."""
        if not continued:
            self.records.clear()
        past = sum(record.queries for record in self.records)
        first_key = 0
        if continued and self.role == "self":
            last = self.records[-1]
            first_key = last.first_key + last.keys + call.queries - call.keys
        rows, weight = picked_rows(wanted.rows, call.queries, past)
        queries, keys = call.queries, call.keys
        call = call.pick(None if rows is None else rows - past, wanted.heads)
        known = torch.arange(past, past + queries) if rows is None else rows
        if not len(known):
            return
        graph = torch.is_grad_enabled() and _needs_gradient(call)
        figures = call.statistics(_row_weight(call, weight)) if wanted.statistics else None
        with torch.no_grad():
            map_ = call.weights() if wanted.maps and not graph else None
        kept = call if graph and wanted.maps else None
        self.records.append(Record(known, queries, keys, first_key, kept, map_, figures))

    def weights(self) -> Tensor:
        """batch x heads x rows x keys: the map, its steps joined."""
        return self._joined([record.weights() for record in self.records], 0.0)

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        return self._joined([record.log_weights() for record in self.records], FORBIDDEN)

    def statistics(self) -> Statistics:
        """Figures of the joined map."""
        parts = [record.statistics for record in self.records if record.statistics is not None]
        total = max(record.first_key + record.keys for record in self.records)
        if len(parts) == 1:
            return parts[0]
        moved = [
            replace(part, received=pad(part.received, _beside(record, total)))
            for part, record in zip(parts, self.records, strict=True)
        ]
        return joined(moved)

    def rows(self) -> Tensor:
        """Where the kept rows stand, counted from the first query."""
        return torch.cat([record.rows for record in self.records])

    def _joined(self, maps: list[Tensor], empty: float) -> Tensor:
        if len(maps) == 1:
            return maps[0]
        total = max(record.first_key + record.keys for record in self.records)
        whole = [
            pad(made, _beside(record, total), value=empty)
            for made, record in zip(maps, self.records, strict=True)
        ]
        return torch.cat(whole, dim=2)


def picked_rows(rows: Rows | None, queries: int, past: int) -> tuple[Tensor | None, Tensor | None]:
    """Positions of the rows to keep (None: all), and for how many rows each of them stands.

    A number asks for as many rows: one drawn from each of as many equal stretches, the same in
    every run. Other rows are positions counted from the first query of the site.
    """
    if rows is None or (isinstance(rows, int) and rows >= queries):
        return None, None
    if isinstance(rows, int):
        bounds = torch.arange(rows + 1) * queries // rows
        lengths = bounds.diff()
        drawn = torch.rand(rows, generator=torch.Generator().manual_seed(0))
        return past + bounds[:-1] + (drawn * lengths).long(), lengths.float()
    total = past + queries
    if isinstance(rows, slice):
        chosen = range(*rows.indices(total))
    else:
        chosen = [row + total if row < 0 else row for row in rows]
    kept = [row for row in chosen if past <= row < total]
    return torch.tensor(kept, dtype=torch.long), None


def dot_product(call: DotProductCall, role: str) -> DotProductCall:
    """The call as records want it: of one sequence, the last query stands at the last key."""
    return replace(call, start=call.keys - call.queries if role == "self" else 0)


def _needs_gradient(call: WatchedCall) -> bool:
    if isinstance(call, MechanismCall):
        return call.call.query.requires_grad or call.call.key.requires_grad
    assert isinstance(call, DotProductCall)
    return call.query.requires_grad or call.key.requires_grad


def _row_weight(call: WatchedCall, lengths: Tensor | None) -> Tensor | None:
    """batch x queries: for how many rows each stands; padding for none."""
    counted = call.counted()
    if counted is None:
        return None if lengths is None else lengths[None]
    # Where no query seems to be real, nothing is known about them.
    counted = (counted | ~counted.any(-1, keepdim=True)).float()
    return counted if lengths is None else counted * lengths.to(counted)


def _beside(record: Record, total: int) -> tuple[int, int]:
    """How many keys of the site stand before and behind those of a record."""
    return record.first_key, total - record.first_key - record.keys
