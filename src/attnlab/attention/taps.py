"""Maps of a running model: `Tap` holds them in its graph, `Intervention` puts others in place.

Names of maps are `decoder.cross.-2/head=0`, `encoder.self.3/heads=mean`, `pooling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.mechanism import Attention, MapChange
from attnlab.attention.tensors import FORBIDDEN_LOG, joined_rows
from attnlab.errors import UserError, suggest


@dataclass(frozen=True)
class Selection:
    """One attention of a model, and which of its heads."""

    attention: Attention
    heads: tuple[int, ...] | None = None  # None: all
    mean: bool = False

    def pick(self, maps: Tensor) -> Tensor:
        """batch x heads x queries x keys -> batch x chosen heads x queries x keys."""
        if self.heads is not None:
            maps = maps[:, list(self.heads)]
        return maps.mean(dim=1, keepdim=True) if self.mean else maps

    def pick_log(self, log_maps: Tensor) -> Tensor:
        """The same of logarithms: the mean is that of the weights."""
        if self.heads is not None:
            log_maps = log_maps[:, list(self.heads)]
        if not self.mean:
            return log_maps
        count = log_maps.new_tensor(log_maps.shape[1])
        return log_maps.logsumexp(dim=1, keepdim=True) - count.log()


def sites(model: nn.Module) -> dict[str, Attention]:
    """Every attention of a model by its site, in the order in which the model holds them.

    The site of an `attnlab.Attention` is its path in the model.
    """
    return {
        module.site or path or "attention": module
        for path, module in model.named_modules()
        if isinstance(module, Attention)
    }


def watched(module: nn.Module) -> bool:
    """Whether a tap, a probe or an intervention is open on this module now."""
    attached = [attention.attached for attention in sites(module).values()]
    return any(each.observers or each.changes for each in attached)


def resolve(model: nn.Module, selector: str) -> Selection:
    """The attention and heads that a selector names; raises `UserError` with what there is.

    A site comes before the slash, heads after it: `head=0`, `heads=0,2`, `heads=mean` (their
    average as one map) or nothing for all. A negative number counts layers from the last.
    """
    site, _, heads = selector.partition("/")
    attention = _attention(sites(model), site, selector)
    return _heads(attention, heads, selector) if heads else Selection(attention)


def _attention(known: dict[str, Attention], site: str, selector: str) -> Attention:
    if site in known:
        return known[site]
    stem, _, number = site.rpartition(".")
    if number.lstrip("-").isdigit():
        layers = [s for s in known if s.rpartition(".")[0] == stem]
        if -len(layers) <= int(number) < 0:
            return known[layers[int(number)]]
    layers = [s for s in known if s.startswith(f"{site}.")]
    if len(layers) == 1:
        return known[layers[0]]
    raise UserError(
        f"selector '{selector}': the model has no site '{site}'; {suggest(site, known)}"
    )


def _heads(attention: Attention, text: str, selector: str) -> Selection:
    key, _, value = text.partition("=")
    count = attention.heads.count
    if key in ("head", "heads") and value in ("mean", "all"):
        return Selection(attention, mean=value == "mean")
    numbers = value.split(",")
    if key not in ("head", "heads") or not all(n.lstrip("-").isdigit() for n in numbers):
        raise UserError(
            f"selector '{selector}': '{text}' names no heads; "
            "allowed: head=0, heads=0,2, heads=mean, heads=all"
        )
    wrong = [n for n in numbers if not -count <= int(n) < count]
    if wrong:
        raise UserError(
            f"selector '{selector}': no head {wrong[0]}; {attention.site} has {count}, "
            f"allowed: 0 to {count - 1}, -1 is the last"
        )
    return Selection(attention, tuple(int(n) % count for n in numbers))


def uniform(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """The same weight for every allowed key; both batch x heads x queries x keys."""
    real = _allowed(weights, allowed)
    return real / real.sum(-1, keepdim=True).clamp_min(1)


class Permuted:
    """The same weights on other allowed keys, in a new random order for every row."""

    def __init__(self, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        real = _allowed(weights, allowed)
        noise = torch.rand(weights.shape, generator=self.random).to(weights)
        # Forbidden keys come last in both orders, so that weights move among allowed keys only.
        target = (noise + 2 * (1 - real)).argsort(-1)
        positions = torch.arange(weights.shape[-1], device=weights.device)
        source = (positions + weights.shape[-1] * (1 - real)).argsort(-1)
        return torch.zeros_like(weights).scatter(-1, target, weights.gather(-1, source))


class Given:
    """Given maps, batch x heads x queries x keys, in the place of the model's own.

    A stepwise decoder takes its rows one after the other.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self.done = 0  # rows taken in this forward pass

    def __call__(self, weights: Tensor, allowed: Tensor | None) -> Tensor:
        rows = weights.shape[2]
        taken = self.maps[:, :, self.done : self.done + rows]
        self.done = (self.done + rows) % self.maps.shape[2]
        return taken.to(weights).expand_as(weights)


def on_heads(change: MapChange, heads: Sequence[int] | None) -> MapChange:
    """The same change for some heads alone (None: all of them)."""
    if heads is None:
        return change
    chosen = list(heads)

    def changed(weights: Tensor, allowed: Tensor | None) -> Tensor:
        if allowed is not None and allowed.shape[1] > 1:
            allowed = allowed[:, chosen]
        made = weights.clone()
        made[:, chosen] = change(weights[:, chosen], allowed)
        return made

    return changed


def permuted(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """The same weights on other allowed keys, in one random order."""
    return Permuted()(weights, allowed)


MAP_CHANGES: dict[str, MapChange] = {"uniform": uniform, "permuted": permuted}


def _allowed(weights: Tensor, allowed: Tensor | None) -> Tensor:
    """1 where a key is allowed, else 0."""
    if allowed is None:
        return torch.ones_like(weights)
    return allowed.expand_as(weights).to(weights)


class Tap:
    """While open, keeps every call at one site; maps are computed on demand.

    Where the kernel makes logits anyway (additive, sparse, recurrent ...) they are shared with
    the forward pass; where it is fused they are computed once more, for the loss.
    """

    def __init__(self, model: nn.Module, selector: str) -> None:
        """Choose a map of a model; a wrong `selector` is a `UserError` with what there is."""
        self.selection = resolve(model, selector)
        self.calls: list[Call] = []

    def __enter__(self) -> Tap:
        self.selection.attention.attached.observers.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.observers.remove(self)

    @property
    def role(self) -> str:
        """What the attention at its site does: self, cross, pooling."""
        return self.selection.attention.role

    def record(self, call: Call) -> None:
        self.calls.append(call)

    def clear(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()

    def weights(self) -> Tensor:
        """batch x chosen heads x queries x keys; the steps of a decoder are its queries."""
        attention = self.selection.attention
        return self._joined([self.selection.pick(attention.maps(c)) for c in self.calls])

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        attention = self.selection.attention
        return self._joined(
            [self.selection.pick_log(attention.maps(c, log=True)) for c in self.calls],
            FORBIDDEN_LOG,
        )

    def used(self) -> Tensor:
        """The weights that the forward pass used: what a normalizer sampled, if it samples.

        `(tap.used() * tap.log_weights()).sum(-1)` is then the log probability of the sample.
        """
        attention = self.selection.attention
        used = [attention.maps(c) if c.used_weights is None else c.used_weights for c in self.calls]
        return self._joined([self.selection.pick(w) for w in used])

    def _joined(self, maps: list[Tensor], absent: float = 0.0) -> Tensor:
        if not maps:
            raise RuntimeError(f"nothing passed {self.selection.attention.site} while tapped")
        return joined_rows(maps, absent) if len(maps) > 1 else maps[0]


class Intervention:
    """While open, the context at one site is computed with changed weights.

    `change(weights, allowed)` gets batch x chosen heads x queries x keys and where they may be
    other than zero (None: everywhere), and returns weights of the same shape.
    """

    def __init__(self, model: nn.Module, selector: str, change: MapChange) -> None:
        self.selection = resolve(model, selector)
        self.change = on_heads(change, self.selection.heads)

    def __enter__(self) -> Intervention:
        self.selection.attention.attached.changes.append(self.change)
        return self

    def __exit__(self, *error: object) -> None:
        self.selection.attention.attached.changes.remove(self.change)
