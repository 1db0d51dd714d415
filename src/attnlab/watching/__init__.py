"""`attnlab.watch`: maps, statistics, losses and interventions on the attention of any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from attnlab.watching.pictures import Picture
from attnlab.watching.records import Rows
from attnlab.watching.session import Watch
from attnlab.watching.sites import Layers, Replacement

__all__ = ["Picture", "Watch", "watch"]


def watch(
    model: nn.Module,
    *,
    layers: Layers | None = None,
    heads: int | Sequence[int] | None = None,
    rows: Rows | None = None,
    maps: bool = True,
    statistics: bool = False,
    replace: Mapping[str, Replacement] | None = None,
) -> Watch:
    """Watch the attention of any model while its forward pass stays fused.

    Every call of `torch.nn.functional.scaled_dot_product_attention` and `nn.MultiheadAttention`
    by a module of the model is seen, and the asked-for rows of its map are computed beside it.
    That serves all models of Hugging Face under `attn_implementation="sdpa"`, their default.

    Args:
        model: any module.
        layers: which attentions: numbers of layers (-1 is the last), names of modules, patterns
            such as `decoder.*.cross*`; None is all.
        heads: which heads; None is all.
        rows: which queries: a number (so many, sampled), a slice, positions; None is all.
        maps: keep maps. False leaves statistics and interventions.
        statistics: keep received mass, entropy, maximum and distance, read in tiles, so that no
            whole map is in memory.
        replace: site or pattern (`h.-1.attn`, `*.attn/head=0,2`) -> the map to use in place of
            the model's own: `uniform`, `permuted`, a tensor of maps, or a function of the map and
            of where it may be other than zero (None: everywhere), that returns another.

    Returns:
        A context manager; what it yields has `maps`, `statistics`, `rows`, `roles`, `steps`,
        `loss` and `show`.

    Raises:
        UserError: the model's attention is not fused, or it has no such layer.

    Examples:
        >>> import torch, attnlab
        >>> layer = torch.nn.TransformerEncoderLayer(16, 2, batch_first=True).eval()
        >>> with attnlab.watch(layer, statistics=True) as seen, torch.no_grad():
        ...     states = layer(torch.randn(1, 5, 16))
        >>> seen.maps["self_attn"].shape
        torch.Size([1, 2, 5, 5])
        >>> round(seen.statistics["self_attn"].received.sum().item(), 3)  # 2 heads x 5 queries
        10.0
    """
    return Watch(
        model,
        layers=layers,
        heads=heads,
        rows=rows,
        maps=maps,
        statistics=statistics,
        replace=replace,
    )
