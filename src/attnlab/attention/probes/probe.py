"""`Probe`: maps of a few examples, computed outside the forward pass, which stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.probes.selectors import Selection, resolve
from attnlab.attention.probes.statistics import Statistics, statistics


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
            maps = torch.cat([attention.maps(c, heads=self.heads) for c in site.calls], dim=2)
            maps = maps if self.rows is None else maps[:, :, self.rows]
        return maps if self.heads is not None else site.selection.pick(maps)
