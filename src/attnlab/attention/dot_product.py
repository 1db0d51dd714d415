"""`DotProductCall`: one call of `scaled_dot_product_attention`, whose map can be computed again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.attention.kernels import native
from attnlab.attention.probes import Statistics
from attnlab.attention.tensors import full_precision, repeat_groups

FORBIDDEN = -1e30  # logit of a key that a query may not attend to: finite, so that 0 * it is 0
MASK_VALUE = -1e4  # what is added to forbidden logits is this or less, whatever the precision
LEAST = -60.0  # exp of it is nothing beside 1; of much less it is a subnormal number, which is slow
ROWS_AT_ONCE = 32  # of the compiled kernel: a multiple of its LANES
CPU_TILE, GPU_TILE = 2**19, 2**26  # weights in memory at once: what fits a core's cache, a GPU


class MapsOfC(ctypes.Structure):
    """`Maps` of map_statistics.c."""

    _fields_ = [
        *((n, ctypes.c_long) for n in ("batch", "heads", "group", "queries", "keys", "width")),
        *((f"q_{n}", ctypes.c_long) for n in ("example", "head", "row")),
        *((f"k_{n}", ctypes.c_long) for n in ("example", "head", "row")),
        *((f"open_{n}", ctypes.c_long) for n in ("example", "query", "key")),
        ("scale", ctypes.c_double),
        *((n, ctypes.c_long) for n in ("start", "size")),
        *((n, ctypes.c_void_p) for n in ("positions", "open")),
        ("causal", ctypes.c_long),
        ("counter", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class DotProductCall:
    """softmax(scale * query key^T + mask), of which nothing is computed before it is asked for.

    As in torch, a boolean mask is True where a query may attend, any other mask is added to the
    logits, and `causal` counts queries and keys from the first of each. Rows without an allowed
    key have a map of zeros.
    """

    query: Tensor  # batch x heads x queries x width
    key: Tensor  # batch x groups x keys x width; each group serves heads / groups heads
    scale: float
    causal: bool = False
    mask: Tensor | None = None  # broadcasts to batch x heads x queries x keys
    positions: Tensor | None = None  # queries: where they stand among all; None: 0, 1, 2, ...
    clear: int = 0  # so many keys at the beginning lie after no query, and need no causal mask
    start: int | None = None  # of one sequence: which key the first of all queries is

    @property
    def keys(self) -> int:
        return self.key.shape[2]

    @property
    def queries(self) -> int:
        return self.query.shape[2]

    @property
    def dtype(self) -> torch.dtype:
        """fp32, or wider where the query is."""
        return torch.promote_types(self.query.dtype, torch.float32)

    def pick(
        self, rows: Tensor | None = None, heads: Sequence[int] | None = None
    ) -> DotProductCall:
        """The same call for some of its queries and heads."""
        query, key, mask, positions = self.query, self.key, self.mask, self.positions
        if heads is not None:
            chosen = list(heads)
            query, key = query[:, chosen], repeat_groups(key, query.shape[1])[:, chosen]
            if mask is not None and mask.shape[1] > 1:
                mask = mask[:, chosen]
        if rows is not None:
            query = query[:, :, rows]
            rows = rows.to(query.device)
            positions = rows if positions is None else positions[rows]
            if mask is not None and mask.shape[2] > 1:
                mask = mask[:, :, rows]
        return replace(self, query=query, key=key, mask=mask, positions=positions)

    def detach(self) -> DotProductCall:
        """The same call, cut off from the graph."""
        mask = None if self.mask is None else self.mask.detach()
        return replace(self, query=self.query.detach(), key=self.key.detach(), mask=mask)

    def allowed(self) -> Tensor | None:
        """Broadcasts to batch x heads x queries x keys; None where every key is allowed."""
        allowed = None
        if self.causal:
            keys = torch.arange(self.keys, device=self.key.device)
            allowed = (keys <= self._positions()[:, None])[None, None]
        if self.mask is not None:
            finite = self.mask if self.mask.dtype == torch.bool else self.mask > MASK_VALUE
            allowed = finite if allowed is None else allowed & finite
        return allowed

    def counted(self) -> Tensor | None:
        """batch x queries, bool: False where a query is padding; None where that is not known.

        In one sequence a query may attend to its own key, unless that is padding.
        """
        if self.start is None or self.mask is None:
            return None
        own = self._positions() + self.start
        lines = torch.arange(self.queries, device=own.device) if self.mask.shape[2] > 1 else 0
        at_own = self.mask[:, :, lines, own] if self.mask.shape[3] > 1 else self.mask[:, :, lines]
        allowed = at_own if at_own.dtype == torch.bool else at_own > MASK_VALUE
        return allowed.any(1).expand(len(self.query), self.queries)

    def log_weights(self) -> Tensor:
        """batch x heads x queries x keys: the logarithm of the map; forbidden keys are -1e30."""
        logits = self._logits()
        made = logits.log_softmax(-1)
        # A row without an allowed key would become a uniform one.
        return made.masked_fill(logits <= FORBIDDEN, FORBIDDEN)

    def weights(self) -> Tensor:
        """batch x heads x queries x keys: the map, before dropout."""
        logits = self._logits()
        if logits.requires_grad:
            return logits.softmax(-1).masked_fill(logits <= FORBIDDEN, 0.0)
        empty = logits.amax(-1, keepdim=True) <= FORBIDDEN
        made = torch.softmax(logits, -1, out=logits)
        return made.masked_fill_(empty, 0.0) if empty.any() else made

    @torch.no_grad()
    def statistics(self, row_weight: Tensor | None = None) -> Statistics:
        """Figures of the map, read in tiles that stay in the cache.

        Args:
            row_weight: batch x queries, how often each row counts in `received`; None: once.
        """
        mask = self.mask
        suits = mask is None or (mask.dtype == torch.bool and mask.shape[1] == 1)
        if suits and self.query.device.type == "cpu" and native.library() is not None:
            return self._compiled_statistics(row_weight)
        batch, heads, queries, _ = self.query.shape
        entropy, maximum, distance = self.query.new_zeros(
            (3, batch, heads, queries), dtype=self.dtype
        )
        received = self.query.new_zeros((batch, heads, self.keys), dtype=self.dtype)
        if row_weight is not None:
            row_weight = row_weight.to(received).expand(batch, queries)
        tile_size = GPU_TILE if self.query.is_cuda else CPU_TILE
        keys = torch.arange(self.keys, device=self.key.device, dtype=self.dtype)
        columns = torch.stack([torch.ones_like(keys), keys], -1)  # keys x 2
        buffers = self.query.new_empty((2, 0), dtype=self.dtype)
        for examples, rows, tile in self._tiles(tile_size):
            size = tile.query[..., 0].numel() * tile.keys
            if buffers.shape[1] < size:
                buffers = buffers.new_empty((2, size))
            shape = (*tile.query.shape[:3], tile.keys)
            logits = tile._logits(out=buffers[0, :size].view(shape))
            highest = logits.amax(-1, keepdim=True)
            empty = highest <= FORBIDDEN
            logits.sub_(highest)
            if self.causal or self.mask is not None:
                logits[..., tile.clear if self.mask is None else 0 :].clamp_min_(LEAST)
            weights = torch.exp(logits, out=buffers[1, :size].view(shape))  # not yet divided
            # Each row's sum and sum of weight x position of the key, in one product.
            both = weights @ columns[: tile.keys]  # examples x heads x rows x 2
            total, center = both[..., :1], both[..., 1:]
            share = total.reciprocal().masked_fill_(empty, 0.0)
            surprise = logits.mul_(weights).sum(-1, keepdim=True)
            entropy[examples, :, rows] = (
                (total.log() - surprise * share).masked_fill(empty, 0).squeeze(-1)
            )
            maximum[examples, :, rows] = share[..., 0]  # the largest has exp(0)
            own = ((self.start or 0) + tile._positions()[:, None]).to(self.dtype)
            if self.causal and not self.start:  # no key after the query
                apart = own * total - center
            else:
                apart = torch.mul(weights, (own - keys[: tile.keys]).abs_(), out=logits)
                apart = apart.sum(-1, keepdim=True)
            distance[examples, :, rows] = (apart * share)[..., 0]
            if row_weight is not None:
                share = share * row_weight[examples, None, rows, None]
            mass = share.transpose(-1, -2) @ weights  # examples x heads x 1 x keys
            received[examples, :, : tile.keys] += mass[:, :, 0]
        return Statistics(entropy, maximum, distance, received)

    def _compiled_statistics(self, row_weight: Tensor | None) -> Statistics:
        """`statistics` by the compiled kernel, where the heads share a mask of allowed pairs."""
        query, key = (each.to(self.dtype) for each in (self.query, self.key))
        query, key = (each if each.stride(3) == 1 else each.contiguous() for each in (query, key))
        batch, heads, queries, width = query.shape
        positions = self._positions().contiguous()
        total, surprise, distance = query.new_empty(3, batch, heads, queries)
        received = query.new_zeros(batch, heads, self.keys)
        if row_weight is not None:
            row_weight = row_weight.to(query).expand(batch, queries).contiguous()
        allowed = self.mask
        if allowed is not None:
            allowed = allowed.expand(batch, 1, queries, self.keys)
        counter = ctypes.c_long(0)
        maps = MapsOfC(
            *(batch, heads, heads // key.shape[1], queries, self.keys, width),
            *(*query.stride()[:3], *key.stride()[:3]),
            *((0, 0, 0) if allowed is None else (allowed.stride(n) for n in (0, 2, 3))),
            *(self.scale, self.start or 0, ROWS_AT_ONCE, positions.data_ptr()),
            *(None if allowed is None else allowed.data_ptr(), self.causal),
            ctypes.addressof(counter),
        )
        compiled = native.function("map_statistics", query.dtype)
        weight = None if row_weight is None else native.pointer(row_weight)
        made = (total, surprise, distance, received)
        arrays = [native.pointer(query), native.pointer(key), weight, *map(native.pointer, made)]

        def task() -> None:
            if compiled(ctypes.byref(maps), *arrays):
                raise MemoryError("no memory for the logits of a few rows of a map")

        native.run_all([task] * min(torch.get_num_threads(), batch * heads))
        empty = total <= 0
        entropy = (total.log() - surprise * native.LOG2).masked_fill_(empty, 0.0)
        return Statistics(entropy, total.reciprocal().masked_fill_(empty, 0.0), distance, received)

    def _positions(self) -> Tensor:
        if self.positions is not None:
            return self.positions
        return torch.arange(self.queries, device=self.query.device)

    def _tiles(self, size: int) -> Iterator[tuple[slice, slice, DotProductCall]]:
        """Some examples and rows at a time; under a causal mask only keys that a row may see."""
        batch, heads, queries, _ = self.query.shape
        rows = min(queries, max(16, size // (heads * self.keys) // 16 * 16))
        examples = max(1, size // (heads * self.keys * rows))
        positions = self._positions()
        last = positions.tolist() if self.causal else []
        for example in range(0, batch, examples):
            some = slice(example, min(batch, example + examples))
            # In fp32 and with heads that merge with examples, once for all tiles.
            key = self.key[some].to(self.dtype)
            key = key if len(key) == 1 else key.contiguous()
            for row in range(0, queries, rows):
                part = slice(row, min(queries, row + rows))
                visible = min(self.keys, max(last[part]) + 1) if self.causal else self.keys
                mask = self.mask
                if mask is not None:
                    mask = mask[some if mask.shape[0] > 1 else slice(None)]
                    mask = mask[:, :, part if mask.shape[2] > 1 else slice(None)]
                    mask = mask[..., :visible] if mask.shape[3] > 1 else mask
                yield (
                    some,
                    part,
                    replace(
                        self,
                        query=self.query[some, :, part],
                        key=key[:, :, :visible],
                        mask=mask,
                        positions=positions[part],
                        clear=min(last[part]) + 1 if self.causal else 0,
                    ),
                )

    def _logits(self, out: Tensor | None = None) -> Tensor:
        """batch x heads x queries x keys with mask, at least FORBIDDEN; in `out`, if there."""
        batch, heads, queries, width = self.query.shape
        groups, keys = self.key.shape[1], self.keys
        with full_precision(self.query):
            # The heads of a group stand below one another, as more rows for the same keys.
            query = self.query.to(self.dtype) * self.scale
            query = query.reshape(batch * groups, heads // groups * queries, width)
            key = self.key.to(self.dtype).flatten(0, 1).transpose(1, 2)  # ... x width x keys
            flat = None if out is None else out.view(batch * groups, -1, keys)
            logits = torch.bmm(query, key) if flat is None else torch.bmm(query, key, out=flat)
            logits = logits.view(batch, heads, queries, keys)
            forbidden = None
            if self.mask is not None and self.mask.dtype == torch.bool:
                forbidden = ~self.mask
            elif self.mask is not None:
                added = self.mask.to(self.dtype)
                logits = logits + added if out is None else logits.add_(added)
                logits = (
                    logits.clamp_min(FORBIDDEN) if out is None else logits.clamp_min_(FORBIDDEN)
                )
            if forbidden is not None:
                logits = _filled(logits, forbidden)
            if self.causal:
                later = torch.arange(self.clear, keys, device=key.device)
                after = later > self._positions()[:, None]  # queries x keys
                if logits.requires_grad:
                    return _filled(logits, pad(after, (self.clear, 0)))
                _filled(logits[..., self.clear :], after)
            return logits


def _filled(logits: Tensor, forbidden: Tensor) -> Tensor:
    if logits.requires_grad:
        return logits.masked_fill(forbidden, FORBIDDEN)
    return logits.masked_fill_(forbidden, FORBIDDEN)
