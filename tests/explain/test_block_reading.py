"""Positions that no layer read have a gradient of exactly zero, and the report names them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from attnlab.attention.taps import Tap
from attnlab.data.example import Example
from attnlab.explain.block_reading import block_readings, reached
from attnlab.metrics.read_blocks import recorded_choices
from tests.models.building import built, small_config
from tests.runs import SHORT, ran

BLOCKS = [
    *("dataset=induction", "task=language_model", "model=transformer", "attention=rope"),
    *("attention/structure=predicted", "attention.structure.by=random", "model.encoder_layers=3"),
    *(
        "attention.structure.block=16",
        "attention.structure.density=0.2",
        "model.feedforward_dim=16",
    ),
    "attention.structure.sink=0",
]


def test_gradients_are_zero_where_no_chain_of_blocks_leads_and_only_there() -> None:
    random = torch.Generator().manual_seed(0)
    texts = [[*"abcd"][i] for i in torch.randint(4, (2 * 160,), generator=random).tolist()]
    examples = [Example(str(i), {"text": texts[160 * i :][: 160 - 9 * i]}, None) for i in range(2)]
    model, batch, _ = built(small_config(*BLOCKS), examples)
    embedded: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    model.decoder.embedding.register_forward_hook(keep)  # type: ignore[union-attr]
    with recorded_choices(model) as calls, Tap(model, "encoder.self.-1") as tap:
        scores = model(batch)
    leads = reached([of_site[0] for _, of_site in calls])
    last = batch.inputs["text"].mask.sum(1) - 1
    for state in (63, 100, int(last[1])):
        (slope,) = torch.autograd.grad(scores[:, state].square().sum(), embedded, retain_graph=True)
        assert torch.equal(slope.abs().sum(-1) > 0, leads[:, state])
        assert (~leads[:, state, :state]).any(), "some were never read"
    rows = [(1, [63, 100])]
    (reading,) = block_readings(calls, tap.calls, rows)
    assert reading is not None
    assert ((reading.missed > 0) == ~leads[1, [63, 100]].numpy()[:, :] * (reading.dense > 0)).all()
    (layer,) = tap.calls
    chosen = layer.allowed[1].any(0)[[63, 100]]  # type: ignore[index]
    assert ((reading.read > 0) == chosen.numpy()).all()
    assert abs(reading.dense.sum(-1) - 1).max() < 1e-5
    step = replace(layer, kept=torch.zeros(2, 1, 1, dtype=torch.long))
    assert list(block_readings(calls, [step], rows)) == [None]
    assert list(block_readings([], tap.calls, rows)) == [None]


def test_reports_say_what_was_never_read(tmp_path: Path) -> None:
    words = [word for word in BLOCKS if word != "dataset=induction"]
    counts = ["dataset.train=64", "dataset.val=8", "dataset.test=8", "dataset.length=96"]
    run = ran(tmp_path, "experiment=induction", *words, *counts, *SHORT, "model.dim=16")
    example = json.loads((run / "examples.json").read_text())[0]
    read, missed = (example["blocks"][name] for name in ("read", "missed"))
    assert sum(missed[-1]) > 0 and not any(
        r and m for r, m in zip(read[-1], missed[-1], strict=True)
    )
    message = example["context"]["never read"]
    assert message.startswith(f"{sum(missed[-1]):.0f} of 96 keys in no layer, for row 96: ")
    assert message in (run / "report.html").read_text()
    assert (run / "maps" / f"{example['id']}-blocks.png").is_file()
