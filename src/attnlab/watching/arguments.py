"""What users hand to a watch, checked: models, replacements of maps, gold maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from attnlab.attention.probes.map_changes import Given, MapChange, Permuted, uniform
from attnlab.config.objective import MapTerm, Term
from attnlab.data.target_batch import TargetBatch
from attnlab.errors import UserError, suggest

Replacement = str | Tensor | MapChange
FUSED = (None, "sdpa", "attnlab")  # implementations of transformers whose attention is seen


def check_model(model: nn.Module) -> None:
    """Refuse a model whose attention cannot be seen."""
    if hasattr(model, "_orig_mod"):
        raise UserError("watch: a compiled model is not seen; try: the model before torch.compile")
    found = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if found not in FUSED:
        raise UserError(
            f"watch: the attention of {type(model).__name__} is '{found}', and 'sdpa' is seen; "
            "try: model.set_attn_implementation('sdpa')"
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
    shared = {"site": site, "weight": 1.0, "schedule": {"kind": "constant"}}
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
