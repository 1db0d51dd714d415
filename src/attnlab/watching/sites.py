"""What users hand to a watch, checked: models, sites, replacements of maps, gold maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from attnlab.attention.taps import Given, MapChange, Permuted, uniform
from attnlab.config.objective import GoldTerm, MapTerm, Term
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError, suggest

Layers = int | str | Sequence[int | str]
CROSS_NAMES = re.compile(r"cross|encdec|encoder_attn|enc_attn", re.IGNORECASE)
SELF_NAMES = re.compile(r"self", re.IGNORECASE)

Replacement = str | Tensor | MapChange
FUSED = (None, "sdpa", "attnlab")  # implementations of transformers whose attention is seen


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module by its qualified name; the model itself by that of its class."""
    for name, module in model.named_modules():
        yield name or type(model).__name__, module


class SiteFilter:
    """Chooses sites, the qualified names of the modules that attend.

    A number is that of a layer, negative from the last: the first number in a module's name, among
    all modules that differ from it in this number alone. A text is the name of a site, or a
    pattern with `*`; `h.-1.attn` counts from the last as well.
    """

    def __init__(self, model: nn.Module, layers: Layers | None) -> None:
        names = [name for name, _ in named_modules(model)]
        self.lengths = _lengths(names)
        self.layers = None if layers is None else _listed(layers)
        for layer in self.layers or ():
            if isinstance(layer, str):
                self._check(layer, names)
            else:
                self._check_number(layer)

    def __contains__(self, site: str) -> bool:
        return self.layers is None or any(self.matches(site, layer) for layer in self.layers)

    def matches(self, site: str, layer: int | str) -> bool:
        """Whether a layer or pattern means this site (further calls of it, `site#1`, too)."""
        name = site.partition("#")[0]
        if isinstance(layer, str):
            return fnmatchcase(site, layer) or fnmatchcase(name, self._counted(layer))
        parent, number = _layer_of(name)
        if number is None:
            return layer in (0, -1)
        return number == (layer if layer >= 0 else layer + self.lengths[parent])

    def _counted(self, pattern: str) -> str:
        """`h.-1.attn` as `h.11.attn`."""
        parts = pattern.split(".")
        for i, part in enumerate(parts):
            if re.fullmatch(r"-\d+", part):
                length = self.lengths.get(".".join(parts[:i]), 0)
                parts[i] = str(length + int(part))
        return ".".join(parts)

    def _check(self, pattern: str, names: Sequence[str]) -> None:
        known = self._counted(pattern.partition("#")[0])
        if not any(fnmatchcase(name, known) for name in names):
            raise UserError(
                f"watch: the model has no module '{pattern}'; {suggest(pattern, names)}"
            )

    def _check_number(self, layer: int) -> None:
        most = max(self.lengths.values(), default=1)
        if not -most <= layer < most:
            raise UserError(
                f"watch: no layer {layer}; the model has {most}, allowed: 0 to {most - 1}, "
                "-1 is the last"
            )


def cross(name: str, module: nn.Module, queries: int, keys: int) -> bool:
    """Whether a site attends to another sequence, by its module, its name, or its first call."""
    flag = getattr(module, "is_cross_attention", None)
    if isinstance(flag, bool):
        return flag
    if CROSS_NAMES.search(name) or CROSS_NAMES.search(type(module).__name__):
        return True
    return not SELF_NAMES.search(name) and queries != keys


def _listed(layers: Layers) -> list[int | str]:
    return [layers] if isinstance(layers, int | str) else list(layers)


def _layer_of(name: str) -> tuple[str, int | None]:
    """`decoder.block.3.layer.1.attn` -> `decoder.block`, 3."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[:i]), int(part)
    return name, None


def _lengths(names: Sequence[str]) -> dict[str, int]:
    """How many numbered modules stand in each list of modules."""
    lengths: dict[str, int] = {}
    for name in names:
        parent, _, last = name.rpartition(".")
        if last.isdigit():
            lengths[parent] = max(lengths.get(parent, 0), int(last) + 1)
    return lengths


def with_heads(selector: str) -> tuple[str, list[int] | None]:
    """`h.0.attn/head=0` or `h.0.attn/heads=0,2` as the site and its heads; None is all."""
    site, _, heads = selector.partition("/")
    if not heads:
        return site, None
    key, _, numbers = heads.partition("=")
    if key not in ("head", "heads") or not re.fullmatch(r"-?\d+(,-?\d+)*", numbers):
        raise UserError(
            f"watch: '{selector}': '{heads}' names no heads; allowed: head=0, heads=0,2"
        )
    return site, [int(number) for number in numbers.split(",")]


def check_model(model: nn.Module) -> None:
    """Refuse a model whose attention cannot be seen."""
    if hasattr(model, "_orig_mod"):
        raise UserError("watch: a compiled model is not seen; try: the model before torch.compile")
    implementation = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if implementation not in FUSED:
        raise UserError(
            f"watch: the attention of {type(model).__name__} is '{implementation}', and 'sdpa' is "
            "seen; try: model.set_attn_implementation('sdpa')"
        )


def as_change(replacement: Replacement, selector: str) -> MapChange:
    """What `replace=` holds for a site, as a function of its map."""
    if isinstance(replacement, Tensor):
        missing = (1,) * (4 - replacement.dim())
        return Given(replacement.view(*missing, *replacement.shape))
    if callable(replacement):
        return replacement
    named: dict[str, MapChange] = {"uniform": uniform, "permuted": Permuted()}
    if replacement not in named:
        raise UserError(f"watch: replace['{selector}']: {suggest(str(replacement), named)}")
    return named[replacement]


def map_loss(
    log_weights: Tensor,
    target: Tensor | TargetBatch,
    site: str,
    kind: str,
    settings: Mapping[str, Any],
) -> Tensor:
    """The mean of a loss term on a map, a scalar."""
    terms = {name: term for name, term in Term.kinds().items() if issubclass(term, MapTerm)}
    if kind not in terms:
        raise UserError(f"watch: no loss '{kind}'; {suggest(kind, terms)}")
    shared: dict[str, Any] = {"site": site, "weight": 1.0, "schedule": {"kind": "constant"}}
    if issubclass(terms[kind], GoldTerm):
        shared["share_power"] = 0.0  # a batch of its own, whatever the share of rows with gold
    try:
        term = terms[kind].model_validate({"kind": kind, **shared, **settings}).build()
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UserError(f"watch: loss '{kind}': {wrong['loc'][0]}: {wrong['msg']}") from None
    gold = target if isinstance(target, TargetBatch) else _as_target(target, log_weights)
    return term.compare(log_weights, gold).value


def _as_target(target: Tensor, log_weights: Tensor) -> TargetBatch:
    """A gold map as given, for each example: batch x queries x keys."""
    batch, _, queries, keys = log_weights.shape
    gold = target.to(log_weights).expand(batch, -1, -1)
    if gold.shape[1:] != (queries, keys):
        raise UserError(
            f"watch: the map has {queries} rows and {keys} keys, and the target {gold.shape[1]} "
            f"and {gold.shape[2]}"
        )
    marked = (gold > 0).any(-1)  # batch x queries
    return TargetBatch(
        weights=gold,
        query_mask=marked,
        key_mask=torch.ones(batch, keys, dtype=torch.bool, device=gold.device),
        row_mask=torch.ones_like(marked),
        weight=gold.new_ones(batch),
    )
