"""Names for maps: `decoder.cross.-2/head=0`, `encoder.self.3/heads=mean`, `pooling`.

A site comes before the slash, heads after it: `head=0`, `heads=0,2`, `heads=mean` (their
average as one map) or nothing for all. A negative number counts layers from the last.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from attnlab.attention.mechanism import Attention
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
    """The attention and heads that a selector names; raises `UserError` with what there is."""
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
