"""`attnlab.Attention`: a mechanism by name, as a module for any model.

>>> import torch
>>> import attnlab
>>> attention = attnlab.Attention("additive", dim=64, heads=4, normalizer="sparsemax")
>>> query, memory = torch.randn(2, 5, 64), torch.randn(2, 7, 64)
>>> attention(query, memory, memory).shape
torch.Size([2, 5, 64])
>>> attention.weights(query, memory).shape  # batch x heads x queries x keys
torch.Size([2, 4, 5, 7])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from attnlab.attention import mechanism
from attnlab.attention.call import Rows
from attnlab.attention.mask import Mask
from attnlab.attention.state import State
from attnlab.config import combinations
from attnlab.config.attention import AttentionConfig
from attnlab.config.section import config_dir
from attnlab.errors import ConfigError, Mistake, UserError, suggest

Part = str | Mapping[str, Any]


class Attention(mechanism.Attention):
    """One attention mechanism, chosen by name, with its parts exchanged at will.

    It is an `nn.Module` like any other. Taps and interventions (`attnlab.attention.taps`) and
    probes (`attnlab.attention.probes`) find it by its path in the model.

    Examples:
        >>> attention = Attention("multihead", dim=32, heads=8, position="rope")
        >>> x = torch.randn(2, 10, 32)
        >>> attention(x, causal=True).shape
        torch.Size([2, 10, 32])
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        mechanism: str = "multihead",
        *,
        dim: int,
        heads: int | Part | None = None,
        score: Part | None = None,
        normalizer: Part | None = None,
        structure: Part | None = None,
        position: Part | None = None,
        key_dim: int | None = None,
        value_dim: int | None = None,
        output_dim: int | None = None,
        dropout: float | None = None,
        kernel: str = "auto",
        max_length: int = 1024,
        role: Literal["self", "cross", "pooling"] = "self",
    ) -> None:
        """Choose a mechanism and its parts.

        Args:
            mechanism: A name of `conf/attention`: "additive", "multihead", "linear", ...
            dim: Width of the queries.
            heads: How many heads, or another way to split them ("grouped_query").
            score: Another score: its name, or a mapping of settings, of which "kind" is the name.
            normalizer: Another normalizer, likewise; `structure` and `position` too.
            structure: Which keys a query may attend to.
            position: How positions enter.
            key_dim: Width of the keys; `dim` if not given.
            value_dim: Width of the values; `key_dim` if not given.
            output_dim: Width of the contexts; None takes what the heads give.
            dropout: Share of weights dropped in training; None is the mechanism's own.
            kernel: Which implementation computes it; "auto" takes the fastest that can.
            max_length: Longest input, for parts that have a parameter for each position.
            role: Off self-attention, parts that compare positions of queries and keys are left out.

        Raises:
            UserError: A name is unknown, or parts do not go together; the message says what does.
        """
        parts = {"score": score, "normalizer": normalizer, "structure": structure}
        parts |= {"position": position, "heads": heads}
        rest = {"kernel": kernel} if dropout is None else {"kernel": kernel, "dropout": dropout}
        key_dim = dim if key_dim is None else key_dim
        super().__init__(
            mechanism_config(mechanism, parts, rest),
            query_dim=dim,
            key_dim=key_dim,
            value_dim=key_dim if value_dim is None else value_dim,
            output_dim=output_dim,
            site=role,
            max_length=max_length,
        )
        self.site = ""  # its path in the model says where it is

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        state: State | None = None,
        *,
        causal: bool = False,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Contexts of the queries.

        Args:
            query: batch x queries x dim.
            key: batch x keys x key_dim; the queries themselves if not given.
            value: batch x keys x value_dim; the keys if not given.
            mask: True where a query may attend to a key, as in `scaled_dot_product_attention`:
                queries x keys, batch x queries x keys or batch x heads x queries x keys.
            state: What `attention.start(...)` gave, for decoding step by step.
            causal: No key after the query.
            key_padding_mask: batch x keys, True where a key is padding, as in
                `torch.nn.MultiheadAttention`.

        Returns:
            batch x queries x output_dim.
        """
        if key is None and (state is None or state.grows):
            key = query
        value = key if value is None else value
        return super().forward(query, key, value, _mask(mask, causal, key_padding_mask), state)

    def weights(
        self,
        query: Tensor,
        key: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        *,
        causal: bool = False,
        key_padding_mask: Tensor | None = None,
        rows: Rows | None = None,
        heads: Sequence[int] | int | None = None,
        state: State | None = None,
    ) -> Tensor:
        """The map: batch x heads x queries x keys, fp32 or wider, without dropout and sampling.

        Arguments are those of a call; `rows` and `heads` choose a part of the map.
        """
        if key is None and (state is None or state.grows):
            key = query
        whole = _mask(mask, causal, key_padding_mask)
        return super().weights(query, key, whole, rows=rows, heads=heads, state=state)

    def log_weights(
        self,
        query: Tensor,
        key: Tensor | None = None,
        mask: Mask | Tensor | None = None,
        *,
        causal: bool = False,
        key_padding_mask: Tensor | None = None,
        rows: Rows | None = None,
        heads: Sequence[int] | int | None = None,
        state: State | None = None,
    ) -> Tensor:
        """The logarithm of `weights`, finite everywhere: for losses on the map."""
        if key is None and (state is None or state.grows):
            key = query
        whole = _mask(mask, causal, key_padding_mask)
        return super().log_weights(query, key, whole, rows=rows, heads=heads, state=state)


def mechanism_config(
    name: str, parts: Mapping[str, int | Part | None], rest: Mapping[str, Any]
) -> AttentionConfig:
    """A mechanism of `conf/attention` with other parts, checked.

    Args:
        name: The mechanism, as in `attention=NAME` on the command line.
        parts: Part -> its kind, or its settings, or None for the mechanism's own; of heads also
            their number.
        rest: Further keys of the config.
    """
    folder = config_dir() / "attention"
    plain = _read(folder, "attention", name)
    chosen = {
        k: v for entry in plain.pop("defaults") if entry != "_self_" for k, v in entry.items()
    }
    for part in combinations.PARTS:
        own = _read(folder / part, part, chosen[part]) | plain.get(part, {})
        plain[part] = _part(folder / part, part, own, parts.get(part))
    plain |= rest
    try:
        config = AttentionConfig.model_validate(plain)
    except ValidationError as error:
        from attnlab.config.mistakes import mistake_from  # which starts Hydra, for its hints

        whole = {"attention": plain}
        errors = error.errors(include_url=False)
        details: list[Any] = [{**each, "loc": ("attention", *each["loc"])} for each in errors]
        raise ConfigError([mistake_from(each, whole) for each in details]) from None
    mistakes = combinations.mistakes(config, "attention")
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _part(folder: Path, part: str, own: dict[str, Any], choice: int | Part | None) -> Any:
    """The settings of a part: its own, or those of another kind, with what is given on top."""
    if choice is None:
        return own
    if isinstance(choice, int):
        counted = own if "count" in own else _read(folder, part, "multi")
        return {**counted, "count": choice}
    if isinstance(choice, str):
        return _read(folder, part, choice)
    kind = choice.get("kind", own["kind"])
    return {**(own if kind == own["kind"] else _read(folder, part, kind)), **choice}


def _read(folder: Path, part: str, name: str) -> dict[str, Any]:
    """The default values of a mechanism, or of one kind of a part."""
    path = folder / f"{name}.yaml"
    if path.is_file():
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    if part in combinations.PARTS and name in combinations.kinds_of(part):
        return {"kind": name}  # of a plugin, which has no file of default values here
    known = {each.stem for each in folder.glob("*.yaml")}
    raise UserError(str(Mistake(part, f"no '{name}'", suggest(name, known))))


def _mask(mask: Mask | Tensor | None, causal: bool, key_padding_mask: Tensor | None) -> Mask | None:
    """All three as one mask."""
    if mask is None or isinstance(mask, Tensor):
        mask = Mask(custom=None if mask is None else _four_axes(mask))
    if key_padding_mask is not None:
        if key_padding_mask.dtype != torch.bool:
            raise UserError("key_padding_mask: needs booleans, True where a key is padding")
        mask = mask & Mask(keys=~key_padding_mask)
    return mask & Mask(causal=True) if causal else mask


def _four_axes(mask: Tensor) -> Tensor:
    """batch or 1 x heads or 1 x queries x keys."""
    if mask.dtype != torch.bool or not 2 <= mask.dim() <= 4:
        raise UserError(
            "mask: needs booleans, True where a query may attend to a key: queries x keys, "
            "batch x queries x keys or batch x heads x queries x keys"
        )
    if mask.dim() == 2:
        return mask[None, None]
    return mask[:, None] if mask.dim() == 3 else mask
