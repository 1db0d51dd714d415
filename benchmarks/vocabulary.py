"""Training steps of a model with many words on a CPU: what the loss and freed memory cost.

    python -m benchmarks.vocabulary --data ../shared/data    # multi30k_ende/tok of it

The Transformer of `experiment=multi30k`, with PyTorch's loss or ours, and with freed memory given
back to the system, as the C library does by itself, or kept. Each measurement is a process; rounds
of all four alternate, so that a machine that changes its speed hits all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
from itertools import product
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from attnlab.compat import keep_freed_memory
from attnlab.config import compose
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.tasks import choices
from attnlab.tasks.choice_loss import NOT_COUNTED
from benchmarks.overhead import bare
from benchmarks.results import now, record

STEPS, WARMUP = 30, 6
LOSSES = ("PyTorch's", "ours")
MEMORY = ("given back", "kept")


def measured(loss: str, memory: str, overrides: list[str]) -> tuple[float, float]:
    """Milliseconds of a step, and MiB at the peak, of this process."""
    if memory == "kept":
        keep_freed_memory()
    if loss == "PyTorch's":
        choices.choice_loss = pytorchs
    config, plain = compose.load(overrides)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), config, plain)
        seconds = bare(run, prepared_data(config), STEPS, WARMUP)
    return 1000 * seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pytorchs(scores: Tensor, gold: Tensor, smoothing: float = 0.0) -> Tensor:
    """What `choice_loss` stands in for."""
    return F.cross_entropy(
        scores.float(), gold, reduction="none", ignore_index=NOT_COUNTED, label_smoothing=smoothing
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps of a model with many words.")
    holds = "folder that holds multi30k_ende/tok"
    parser.add_argument("--data", default="../shared/data", help=holds)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    settings = [f"paths.data={options.data}", f"trainer.threads={options.threads}"]
    overrides = ["experiment=multi30k", "trainer.accelerator=cpu", *settings]
    prepared = prepared_data(compose.load(overrides)[0])
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(options.rounds):
        for kind in product(LOSSES, MEMORY):
            with multiprocessing.get_context("spawn").Pool(1) as process:
                found.setdefault(kind, []).append(process.apply(measured, (*kind, overrides)))
            print(number, *kind, "{:.0f} ms, {:.0f} MiB".format(*found[kind][-1]), flush=True)
    plain = found[LOSSES[0], MEMORY[0]]
    table = [
        "| loss | freed memory | ms a step | ratio | MiB at the peak |",
        "|---|---|---|---|---|",
    ]
    for (loss, memory), rounds in found.items():
        ms, mib = (statistics.median(each) for each in zip(*rounds, strict=True))
        ratios = [one / other for (one, _), (other, _) in zip(rounds, plain, strict=True)]
        cells = loss, memory, f"{ms:.0f}", f"{statistics.median(ratios):.2f}", f"{mib:.0f}"
        table.append(f"| {' | '.join(cells)} |")
    title, command = "Steps with a vocabulary", "python -m benchmarks.vocabulary"
    note = (
        "The Transformer of 2.6 M parameters on captions, 10,000 pieces, 2,048 of them a batch; "
        f"forward, backward and update, threads: {options.threads}, rounds: {options.rounds}."
    )
    record("vocabulary", title, command, table, now(prepared.digest), note)


if __name__ == "__main__":
    main()
