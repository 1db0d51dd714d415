"""What packing saves: a Transformer's encoder over texts of mixed lengths.

python -m benchmarks.packing
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from torch import Tensor

from attnlab.config.compose import load
from attnlab.models.memory import Memory
from attnlab.models.transformer import TransformerEncoder
from attnlab.models.transformer_layers import Packing
from benchmarks.attention import circumstances, median, paired, ratio
from benchmarks.results import record

EXAMPLES, LONGEST = 64, 128


def encoder(packed: bool) -> tuple[TransformerEncoder, int]:
    """The encoder of `model=transformer`, and its width."""
    words = ["experiment=reviews", "model=transformer", "attention=multihead"]
    config, _ = load([*words, f"model.packed={str(packed).lower()}"])
    parts = config.model.build()
    torch.manual_seed(0)
    made = parts.encoder(config.attention)
    assert isinstance(made, TransformerEncoder)
    return made.train(), parts.dim


def step(model: TransformerEncoder, states: Tensor, mask: Tensor) -> None:
    """Forward and backward."""
    model.zero_grad()
    model(Memory(states, mask)).values.square().mean().backward()


def row(name: str, lengths: Tensor) -> str:
    """Padding, and the time of a step with it and packed."""
    width = int(lengths.max())
    mask = torch.arange(width) < lengths[:, None]
    models = [encoder(packed) for packed in (False, True)]
    states = torch.randn(len(lengths), width, models[0][1])
    runs = [partial(step, model, states, mask) for model, _ in models]
    rounds = paired(runs, seconds=10)
    packing = Packing.of(mask)
    rows = len(lengths) if packing is None else len(packing.owners)
    padding = 1 - float(mask.float().mean())
    times = " | ".join(f"{median(rounds, i):.0f}" for i in range(2))
    saved = f"{padding:.0%} | {len(lengths)} -> {rows}"
    return f"| {name} | {saved} | {times} | {ratio(rounds, 1, 0):.2f} |"


def main() -> None:
    argparse.ArgumentParser(description="What packing saves.").parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mixed = (2 ** (3 + 4 * torch.rand(EXAMPLES))).long().clamp_max(LONGEST)
    like = (LONGEST - 24 * torch.rand(EXAMPLES)).long()
    lines = [
        "| lengths | padding | rows | ms padded | ms packed | packed / padded |",
        "|---|---|---|---|---|---|",
        row("8 to 128, most short, as they come", mixed),
        row("105 to 128, as sorted batches have them", like),
    ]
    note = f"{circumstances()} {EXAMPLES} texts, two layers of width 128, four heads."
    record("packing", "Packing short texts", "python -m benchmarks.packing", lines, note=note)


if __name__ == "__main__":
    main()
