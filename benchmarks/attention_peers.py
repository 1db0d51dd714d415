"""Beside x-transformers: the variants that both have, one layer of the same size, one step.

python -m benchmarks.attention_peers
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from x_transformers import x_transformers as peer

from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.attention import AttentionConfig
from attnlab.config.compose import compose, resolve
from benchmarks.attention import median, paired, ratio
from benchmarks.results import record

DIM, HEADS = 256, 4
VARIANTS: dict[str, dict[str, Any]] = {
    "multihead": {},
    "multi_query": {"one_kv_head": True},
    "grouped_query": {"kv_heads": 2},
    "cosine": {"qk_norm": True},
    "l2": {"l2_distance": True},
    "talking": {"pre_talking_heads": True, "post_talking_heads": True},
    "top_k": {"sparse_topk": 8},
    "sigmoid": {"sigmoid": True},
    "off_by_one": {"add_zero_kv": True},
    "sink": {"head_learned_sink": True},
    "gated": {"gate_values": True},
    "rope": {},
    "alibi": {},
    "t5": {},
}


def ours(name: str) -> Attention:
    """A named mechanism of `conf/attention`, four heads of width 64."""
    plain = resolve(compose([f"attention={name}"]))["attention"]
    config = AttentionConfig.model_validate(plain)
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM)
    return Attention(config, **dims, output_dim=None, site="encoder.self.0")


def theirs(name: str, length: int, fused: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The same of x-transformers; `fused` lets it use scaled_dot_product_attention."""
    layer = peer.Attention(DIM, dim_head=DIM // HEADS, heads=HEADS, flash=fused, **VARIANTS[name])
    extra: dict[str, Any] = {}
    if name == "rope":
        rotary = peer.RotaryEmbedding(DIM // HEADS)
        extra["rotary_pos_emb"] = rotary.forward_from_seq_len(length)
    if name == "alibi":
        extra["rel_pos"] = peer.AlibiPositionalBias(heads=HEADS, total_heads=HEADS)
    if name == "t5":
        extra["rel_pos"] = peer.RelativePositionBias(scale=(DIM // HEADS) ** 0.5, heads=HEADS)
    return lambda x, keys: layer(x, mask=keys, **extra)


def step(run: Callable[[], Tensor]) -> None:
    run().sum().backward()


def row(name: str, length: int) -> str:
    """Milliseconds of both, theirs by the faster of its two ways."""
    torch.manual_seed(0)
    batch = max(1, 2048 // length)
    x = torch.randn(batch, length, DIM, requires_grad=True)
    keys = torch.arange(length) < torch.full((batch, 1), length * 7 // 8)
    mechanism: nn.Module = ours(name)
    runs: list[Callable[[], object]] = [
        partial(step, partial(mechanism, x, x, x, Mask(keys=keys))),
    ]
    for fused in (True, False):
        try:
            run = partial(step, partial(theirs(name, length, fused), x, keys))
            run()
        except (AssertionError, RuntimeError, ValueError):
            continue  # this variant has no such way
        runs.append(run)
    rounds = paired(runs, seconds=4)
    best = min(range(1, len(runs)), key=lambda run: median(rounds, run))
    cells = f"{median(rounds, best):.1f} | {median(rounds, 0):.1f} | {ratio(rounds, 0, best):.2f}"
    return f"| {name} | {length} | {cells} |"


def main() -> None:
    torch.set_num_threads(1)  # disturbed least by whatever else runs
    lines = [
        "| variant | length | x-transformers ms | ours ms | ours / theirs (goal at most 1) |",
        "|---|---|---|---|---|",
        *(row(name, length) for name in VARIANTS for length in (128, 512)),
    ]
    note = (
        "One layer of width 256 with four heads, padding mask, forward and backward; "
        "x-transformers by the faster of its fused and plain ways. One thread."
    )
    title, command = "Attention beside x-transformers", "python -m benchmarks.attention_peers"
    record("attention-peers", title, command, lines, note=note)


if __name__ == "__main__":
    main()
