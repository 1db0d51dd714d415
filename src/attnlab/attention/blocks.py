"""`Blocks`: which key blocks each query block reads, and which pairs inside them are allowed.

A mask over positions is listed once for a length (`blocks_of` keeps the lists): whole blocks that
no query may attend to are left out, blocks that are allowed throughout need no mask, and the rest
have a tile that says pair by pair what the mask says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.mask import Divided, Mask, Pattern, PositionRange

TILES_AT_ONCE = 256  # whose pairs are computed together: 8 MiB of positions
PRIME = 0x9E3779B1


@dataclass(frozen=True, eq=False)
class Blocks:
    """For each query block the key blocks it reads, one list for all maps or a list for each."""

    size: int  # positions of a block
    queries: int
    keys: int
    starts: Tensor  # examples or 1 x maps or 1 x query blocks + 1, int32: where each list begins
    listed: Tensor  # int32: key blocks, list after list
    tile: Tensor  # int32: the tile of each listed pair, -1 where every pair is allowed
    tiles: Tensor  # tiles x keys of a block x queries of a block, uint8
    query_order: Tensor | None = None  # where positions are sorted before they are cut in blocks
    key_order: Tensor | None = None

    @cached_property
    def density(self) -> float:
        """Listed pairs of blocks as a share of all."""
        lists = self.starts.shape[0] * self.starts.shape[1]
        pairs = lists * count(self.queries, self.size) * count(self.keys, self.size)
        return len(self.listed) / max(pairs, 1)

    @cached_property
    def transposed(self) -> Blocks:
        """The same lists the other way round: for each key block the query blocks that read it."""
        examples, maps, _ = self.starts.shape
        rows, columns = count(self.queries, self.size), count(self.keys, self.size)
        owner = self.owners
        problem, block = owner // rows, owner % rows
        key = problem * columns + self.listed
        order = key.argsort(stable=True)
        counts = torch.bincount(key, minlength=examples * maps * columns)
        return replace(
            self,
            starts=_starts(counts.view(examples, maps, columns)),
            listed=block[order].int(),
            tile=self.tile[order],
        )

    @cached_property
    def owners(self) -> Tensor:
        """For each listed pair its query block, counted through all lists."""
        rows = (self.starts[..., 1:] - self.starts[..., :-1]).flatten().long()
        return torch.repeat_interleave(torch.arange(len(rows), device=rows.device), rows)

    def restricted(self, chosen: Tensor) -> Blocks:
        """Without the pairs that are not chosen: examples x maps x query blocks x key blocks."""
        listed, _ = self.read()
        kept = chosen & listed
        tiles = self.tile.new_full((listed.numel(),), -1)
        tiles[listed.flatten()] = self.tile
        tile = tiles.view_as(listed).expand_as(kept)[kept]
        return replace(
            self, starts=_starts(kept.sum(-1)), listed=kept.nonzero()[:, 3].int(), tile=tile
        )

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Lists of one length: examples or 1 x maps or 1 x query blocks x longest, and which pairs
        they allow: the same x queries of a block x keys of a block."""
        first, end = self.starts[..., :-1, None].long(), self.starts[..., 1:, None].long()
        slots = first + torch.arange(int((end - first).max()), device=first.device)
        there, slots = slots < end, slots.clamp_max(max(len(self.listed) - 1, 0))
        if len(self.listed) == 0:
            return slots, there[..., None, None].expand(*there.shape, self.size, self.size)
        tile = self.tile.long()[slots]
        allowed = (tile < 0)[..., None, None]
        if len(self.tiles):
            allowed = allowed | self.tiles.bool()[tile.clamp_min(0)].mT
        allowed = allowed & there[..., None, None]
        return self.listed.long()[slots], allowed.expand(*slots.shape, self.size, self.size)

    def read(self) -> tuple[Tensor, Tensor]:
        """Which blocks are listed, and of which every pair is allowed: examples or 1 x maps or 1 x
        query blocks x key blocks."""
        examples, maps, _ = self.starts.shape
        columns = count(self.keys, self.size)
        rows = examples * maps * count(self.queries, self.size)
        read = torch.zeros(2, rows, columns, dtype=torch.bool, device=self.listed.device)
        read[0, self.owners, self.listed.long()] = True
        read[1, self.owners, self.listed.long()] = self.tile < 0
        listed, full = read.view(2, examples, maps, -1, columns)
        return listed, full


Tile = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # example, map, query block, key block


def count(length: int, size: int) -> int:
    """How many blocks a length has."""
    return -(-length // size)


def real_blocks(real: Tensor, size: int) -> Tensor:
    """batch x keys -> batch x key blocks, uint8: 0 where no key is real, 1 some, 2 all are."""
    cut = [pad(real, (0, -real.shape[1] % size), value=v).unflatten(1, (-1, size)) for v in (0, 1)]
    return cut[0].any(-1).to(torch.uint8) + cut[1].all(-1).to(torch.uint8)


def blocks_of(
    mask: Mask,
    start: int,
    queries: int,
    keys: int,
    size: int,
    device: torch.device,
    *,
    ordered: bool = True,
) -> tuple[Blocks, ...]:
    """The lists of a mask without its padding; together they allow each allowed pair once.

    There are several where a rule is a union of parts, each of which is dense in an order of its
    own (`Pattern.parts`); where that is not `ordered`, there is one list in the order of positions.
    Query 0 is at position `start` on the axis of the keys.
    """
    if mask.custom is None:
        if not any(isinstance(rule, Divided) for rule in mask.rules):  # for all lengths of as many
            queries, keys = count(queries, size) * size, count(keys, size) * size
        return _kept_lists(mask.rules, None, start, queries, keys, size, device, ordered)
    return _lists(mask.rules, mask.custom, start, queries, keys, size, device, ordered)


def _lists(
    rules: tuple[Pattern, ...],
    custom: Tensor | None,
    start: int,
    queries: int,
    keys: int,
    size: int,
    device: torch.device,
    ordered: bool,
) -> tuple[Blocks, ...]:
    position = torch.arange(start, start + queries, device=device)
    key_position = torch.arange(keys, device=device)
    split = next((rule for rule in rules if isinstance(rule, Divided)), None)
    if split is None or not ordered:
        return (_listed(rules, custom, position, key_position, size),)
    rest = tuple(rule for rule in rules if rule is not split)
    made = []
    for part in split.parts():
        order, key_order = part.axis(position).argsort(), part.axis(key_position).argsort()
        own = custom
        if own is not None:
            own = own if own.shape[2] == 1 else own[:, :, order]
            own = own if own.shape[3] == 1 else own[..., key_order]
        sides = position[order], key_position[key_order]
        blocks = _listed(rest, own, *sides, size, part.axis, part.rules)
        if part.step > 1:
            blocks = replace(blocks, query_order=order, key_order=key_order)
        made.append(blocks)
    return tuple(made)


# Of rules alone, whose lists are the same from step to step.
_kept_lists = functools.lru_cache(maxsize=192)(_lists)


def _listed(
    rules: tuple[Pattern, ...],
    custom: Tensor | None,
    queries: Tensor,
    keys: Tensor,
    size: int,
    axis: Callable[[Tensor], Tensor] | None = None,
    on_axis: tuple[Pattern, ...] = (),
) -> Blocks:
    """The lists of rules over positions, of others over what `axis` makes of positions, and of a
    matrix that broadcasts to examples x maps x queries x keys."""
    rows, columns = _cut(queries, size), _cut(keys, size)  # blocks x size: positions
    placed = [(rule, rows, columns) for rule in rules]
    if axis is not None:
        placed += [(rule, axis(rows), axis(columns)) for rule in on_axis]
    some = torch.ones(1, 1, len(rows), len(columns), dtype=torch.bool, device=rows.device)
    every = some
    for rule, row, column in placed:
        possible, certain = _of_blocks(rule, _range(row[:, None]), _range(column[None]))
        some, every = some & possible, every & certain
    open_ = None if custom is None else _blocked(custom, len(queries), len(keys), size)
    if open_ is not None:
        some, every = some & open_.any((3, 5)), every & open_.all((3, 5))

    def tile(example: Tensor, map_: Tensor, row: Tensor, column: Tensor) -> Tensor:
        allowed = torch.ones(len(row), size, size, dtype=torch.bool, device=row.device)
        for rule, q, k in placed:
            allowed &= rule.allows(q[row][:, None, :], k[column][:, :, None])
        if open_ is not None:
            examples, maps = open_.shape[:2]
            pairs = open_[example % examples, map_ % maps, row, :, column]  # ... queries x keys
            allowed &= pairs.mT
        return allowed

    return assemble(some, every, tile, len(queries), len(keys), size)


def assemble(some: Tensor, every: Tensor, tile: Tile, queries: int, keys: int, size: int) -> Blocks:
    """Lists of blocks where `some` pair may be allowed, with tiles where not `every` one is.

    Both are examples or 1 x maps or 1 x query blocks x key blocks. A block whose tile turns out to
    allow nothing is left out, one whose tile allows everything keeps none.
    """
    index = some.nonzero()
    partial = (~every.expand_as(some)[some]).nonzero()[:, 0]
    made = [tile(*index[rows].unbind(1)) for rows in partial.split(TILES_AT_ONCE) if len(rows)]
    tiles = torch.cat(made) if made else some.new_zeros(0, size, size)
    empty, full = ~tiles.flatten(1).any(1), tiles.flatten(1).all(1)
    mixed = ~empty & ~full
    tiles, which = _distinct(tiles[mixed])
    number = index.new_full((len(index),), -1)
    number[partial[mixed]] = which
    left = torch.ones_like(number, dtype=torch.bool)
    left[partial[empty]] = False
    listed = torch.zeros_like(some)
    listed[tuple(index[left].unbind(1))] = True
    return Blocks(
        size,
        queries,
        keys,
        starts=_starts(listed.sum(-1)),
        listed=index[left, 3].int(),
        tile=number[left].int(),
        tiles=tiles.to(torch.uint8),
    )


def _distinct(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Equal tiles once, and the number of each: those of a rule are few, and stay in the cache."""
    each = torch.arange(len(tiles), device=tiles.device)
    if len(tiles) == 0:
        return tiles, each
    flat = tiles.flatten(1).to(torch.uint8)
    words = pad(flat, (0, -flat.shape[1] % 8)).view(torch.int64)  # a word holds eight pairs
    code = (words * (torch.arange(words.shape[1], device=tiles.device) * PRIME + 1)).sum(1)
    _, which = code.unique(return_inverse=True)
    first = each.new_full((int(which.max()) + 1,), len(tiles))
    first = first.scatter_reduce(0, which, each, "amin")
    if not torch.equal(tiles[first][which], tiles):  # different tiles of one code
        return tiles, each
    return tiles[first], which


def _starts(counts: Tensor) -> Tensor:
    """Where each list begins, and where the last one of a map ends: ... x blocks + 1."""
    ends = counts.flatten().cumsum(0).view_as(counts)
    return torch.cat([ends[..., :1] - counts[..., :1], ends], dim=-1).int()


def _of_blocks(rule: Pattern, query: PositionRange, key: PositionRange) -> tuple[Tensor, Tensor]:
    """What a rule says of blocks; one that says nothing is evaluated pair by pair."""
    stated = getattr(rule, "of_blocks", None)
    if stated is not None:
        return stated(query, key)
    some = torch.ones_like(query.first + key.first, dtype=torch.bool)
    return some, ~some


def _cut(positions: Tensor, size: int) -> Tensor:
    """blocks x size; the last block repeats its last position."""
    missing = -len(positions) % size
    return torch.cat([positions, positions[-1:].expand(missing)]).view(-1, size)


def _range(blocks: Tensor) -> PositionRange:
    """From where to where the positions of each block go."""
    return PositionRange(blocks.amin(-1), blocks.amax(-1))


def _blocked(custom: Tensor, queries: int, keys: int, size: int) -> Tensor:
    """batch or 1 x maps or 1 x query blocks x size x key blocks x size, False beyond the ends."""
    whole = custom.expand(*custom.shape[:2], queries, keys)
    whole = pad(whole, (0, -keys % size, 0, -queries % size))
    return whole.unflatten(3, (-1, size)).unflatten(2, (-1, size))
