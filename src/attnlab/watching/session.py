"""`Watch`: what is seen of a model's attention while it is open, and changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.dot_product import DotProductCall
from attnlab.attention.mechanism import Attention
from attnlab.attention.probes import Statistics
from attnlab.attention.taps import MapChange, on_heads
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError, suggest
from attnlab.watching.interception import Interception, Running
from attnlab.watching.pictures import Picture, picture
from attnlab.watching.records import MechanismCall, Rows, Site, Wanted, WatchedCall, dot_product
from attnlab.watching.sites import (
    Layers,
    Replacement,
    SiteFilter,
    as_change,
    check_model,
    cross,
    map_loss,
    named_modules,
    with_heads,
)

T = TypeVar("T")


class Watch:
    """What is seen of a model's attention while this context manager is open.

    `watch` makes one. It holds the last forward pass; the steps of a generation, whose keys grow
    in a cache, are joined to one map. What it holds can be read inside the block and after it.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: Layers | None = None,
        heads: int | Sequence[int] | None = None,
        rows: Rows | None = None,
        maps: bool = True,
        statistics: bool = False,
        replace: Mapping[str, Replacement] | None = None,
    ) -> None:
        check_model(model)
        self.model = model
        heads = [heads] if isinstance(heads, int) else heads
        self._wanted = Wanted(heads, rows, maps, statistics)
        self._filter = SiteFilter(model, layers)
        self._changes: list[tuple[SiteFilter, MapChange]] = []
        for selector, replacement in (replace or {}).items():
            name, chosen = with_heads(selector)
            change = on_heads(as_change(replacement, selector), chosen)
            self._changes.append((SiteFilter(model, name), change))
        self._sites: dict[str, Site] = {}
        self._passed: dict[str, int] = {}  # calls at each site in this pass
        self._continued = False  # whether this pass goes on with a generation
        self._interception: Interception | None = None
        self._own: list[_OwnAttention] = []

    def __enter__(self) -> Self:
        if self._interception is not None:
            raise UserError(
                "watch: is open already; a nested one needs an `attnlab.watch` of its own"
            )
        self.clear()
        interception = Interception(self.model, self)
        interception.__enter__()
        self._interception = interception
        for name, module in named_modules(self.model):
            if isinstance(module, Attention):
                self._own.append(_OwnAttention(self, name, module))
        return self

    def __exit__(self, *error: Any) -> None:
        for own in self._own:
            own.detach()
        self._own.clear()
        interception, self._interception = self._interception, None
        if interception is not None:
            interception.__exit__(*error)

    @property
    def maps(self) -> Mapping[str, Tensor]:
        """Site -> batch x heads x rows x keys in fp32: what the model computes, before dropout.

        Where gradients are recorded a map is part of the graph, and made at each access.
        """
        if not self._wanted.maps:
            raise UserError("watch: no maps were asked for; try: maps=True")
        return self._by_site(Site.weights)

    @property
    def statistics(self) -> Mapping[str, Statistics]:
        """Site -> `entropy`, `maximum` and `distance` of each row, `received` mass of each key.

        From sampled rows, `received` is the estimate of the mass from all rows. In self-attention
        queries that are padding (their own key is masked) give no mass.
        """
        if not self._wanted.statistics:
            raise UserError("watch: no statistics were asked for; try: statistics=True")
        return self._by_site(Site.statistics)

    @property
    def rows(self) -> Mapping[str, Tensor]:
        """Site -> the positions of the rows that were kept."""
        return self._by_site(Site.rows)

    @property
    def roles(self) -> Mapping[str, str]:
        """Site -> `self` or `cross`: whether it attends to its own sequence or to another."""
        return self._by_site(lambda site: site.role)

    def steps(self, site: str) -> list[Tensor]:
        """The map of each forward pass of a generation: batch x heads x rows x keys so far."""
        return [record.weights() for record in self._by_site(lambda each: each.records)[site]]

    def loss(
        self, target: Tensor | TargetBatch, site: str, kind: str = "cross_entropy", **settings: Any
    ) -> Tensor:
        """A loss on a map of the last forward pass, as a part of its graph.

        Args:
            target: the gold map, batch x queries x keys (or queries x keys for all examples);
                rows without any mass do not count. Or a `TargetBatch`.
            site: which map.
            kind: which term on maps: cross_entropy, kl, mse, soft_iou, ...
            settings: what the term needs besides, such as `temperature=2.0`.

        Returns:
            A scalar: the mean over heads and counted rows.
        """
        if not self._wanted.maps:
            raise UserError("watch: a loss needs maps; try: maps=True")
        log_weights = self._by_site(Site.log_weights)[site]
        return map_loss(log_weights, target, site, kind, settings)

    def show(
        self,
        site: str | None = None,
        example: int = 0,
        *,
        queries: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> Picture:
        """The map of one example, head by head; a notebook shows it where it ends a cell.

        Args:
            site: which map; None is the last.
            example: which example of the batch.
            queries: words beside the rows.
            keys: words below the columns; None: those of the queries, where they fit.

        Returns:
            A picture as HTML, which `save(path)` writes to a file.
        """
        maps = self.maps
        name = list(maps)[-1] if site is None else site
        shown = maps[name][example].detach()  # heads x rows x keys
        if keys is None and queries is not None and len(queries) == shown.shape[-1]:
            keys = queries
        return picture(name, shown.float().cpu(), queries, keys)

    def clear(self) -> None:
        """Forget what was seen so far."""
        self._sites.clear()
        self._passed.clear()
        self._continued = False

    def begin_pass(self) -> None:
        """The model, or a part of it, begins to run."""
        self._passed.clear()
        self._continued = False

    def see(self, running: Running, call: DotProductCall, role: str | None) -> MapChange | None:
        """A call of scaled dot product attention by a module of the model."""
        name = self._name(running.name)
        if name in self._filter:
            if role is None:
                other = running.cross or cross(name, running.module, call.queries, call.keys)
                role = "cross" if other else "self"
            site = self._sites.get(name) or Site(name, role)
            self._keep(site, dot_product(call, site.role))
        return self._change_of(name)

    def _name(self, module: str) -> str:
        """The name of a site: further calls of one module in one pass are numbered."""
        number = self._passed[module] = self._passed.get(module, -1) + 1
        return f"{module}#{number}" if number else module

    def _keep(self, site: Site, call: WatchedCall) -> None:
        self._sites[site.name] = site
        if site.role == "self":
            self._continued = continued = site.continues(call.queries, call.keys)
        else:  # the decoder's own steps say whether it goes on
            continued = self._continued
        site.add(call, self._wanted, continued=continued)

    def _change_of(self, name: str) -> MapChange | None:
        for sites, change in self._changes:
            if name in sites:
                return change
        return None

    def _by_site(self, make: Callable[[Site], T]) -> Mapping[str, T]:
        sites = {name: site for name, site in self._sites.items() if site.records}
        if not sites:
            kind = type(self.model).__name__
            raise UserError(
                f"watch: no attention of {kind} was seen in this thread; nothing ran while it was "
                "open, `layers` or `rows` leave nothing, or its attention is not torch's "
                "scaled_dot_product_attention"
            )
        return BySite(sites, make)


class BySite(Mapping[str, T]):
    """Something of each site, made when it is asked for."""

    def __init__(self, sites: Mapping[str, Site], make: Callable[[Site], T]) -> None:
        self._sites, self._make = sites, make

    def __getitem__(self, name: str) -> T:
        if name not in self._sites:
            raise KeyError(f"no site '{name}' was seen; {suggest(name, self._sites)}")
        return self._make(self._sites[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._sites)})"


class _OwnAttention:
    """An observer of one `attnlab` attention, whatever its mechanism."""

    def __init__(self, watch: Watch, name: str, attention: Attention) -> None:
        self.watch, self.name, self.attention = watch, name, attention
        attention.attached.observers.append(self)
        self.change = watch._change_of(name)
        if self.change is not None:
            attention.attached.changes.append(self.change)

    def detach(self) -> None:
        self.attention.attached.observers.remove(self)
        if self.change is not None:
            self.attention.attached.changes.remove(self.change)

    def record(self, call: Call) -> None:
        name = self.watch._name(self.name)
        if name in self.watch._filter:
            site = self.watch._sites.get(name) or Site(name, self.attention.role)
            self.watch._keep(site, MechanismCall(self.attention, call))
