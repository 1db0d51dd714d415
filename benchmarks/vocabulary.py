"""Training steps of a model with many words on a CPU: what loss, freed memory and scores cost.

    python -m benchmarks.vocabulary --data ../shared/data    # multi30k_ende/tok of it
    python -m benchmarks.vocabulary long                     # a section: captions, long

The Transformer of `experiment=multi30k`, with PyTorch's loss or ours, and with freed memory given
back to the system, as the C library does by itself, or kept; and a language model on one long text,
whose scores are all in memory or computed in pieces. Each measurement is a process; rounds of all
ways alternate, so that a machine that changes its speed hits all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.compat import keep_freed_memory
from attnlab.config import compose
from attnlab.data.batch import collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import Vocabulary
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.tasks import choices
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.task import build_model
from benchmarks.overhead import bare
from benchmarks.results import now, record

STEPS, WARMUP = 30, 6
LOSSES = ("PyTorch's", "ours")
MEMORY = ("given back", "kept")


def measured(loss: str, memory: str, overrides: Sequence[str]) -> tuple[float, float]:
    """Milliseconds of a step, and MiB at the peak, of this process."""
    if memory == "kept":
        keep_freed_memory()
    if loss == "PyTorch's":
        choices.choice_loss = pytorchs
    config, plain = compose.load(list(overrides))
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), config, plain)
        seconds = bare(run, prepared_data(config), STEPS, WARMUP)
    return 1000 * seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pytorchs(scores: Tensor, gold: Tensor, smoothing: float = 0.0) -> Tensor:
    """What `choice_loss` stands in for."""
    return F.cross_entropy(
        scores.float(), gold, reduction="none", ignore_index=NOT_COUNTED, label_smoothing=smoothing
    )


LENGTH, UNITS = 32_768, 16_384
LONG = (
    "~experiment", "dataset=text", "task=language_model", "model=transformer", "model.dim=128",
    "model.encoder_layers=4", f"model.max_length={LENGTH}", "attention=multihead",
    "attention/structure=window", "attention.structure.left=255", "attention.structure.right=0",
)  # fmt: skip
WAYS = {"all at once": "null", "2^26 at once": str(2**26), "2^22 at once": str(2**22)}


def long_step(at_once: str, threads: int, length: int = LENGTH) -> tuple[float, float]:
    """Seconds of a training step on one text, and MiB at the peak, of this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config, _ = compose.load([*LONG, f"task.scores_at_once={at_once}"])
    words = [f"word {number}" for number in range(UNITS - 4)]
    text = [words[number] for number in torch.randint(len(words), (length,)).tolist()]
    example = Example("0", {"text": text}, None)
    codec = Codec.fit([example], "nothing", {"text": Vocabulary(words)})
    answers = config.task.adapt_answers(codec.answers, codec.inputs)
    codec = Codec(codec.inputs, answers, codec.attended)
    model, task = build_model(config, codec).train(), config.task.build(codec)
    batch = collate([codec.encode(example, 0)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    seconds = []
    for _ in range(2):  # kernels are compiled and chosen in the first
        started = time.perf_counter()
        optimizer.zero_grad()
        task.loss(task.run(model, batch), batch).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return seconds[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_turn(
    function: Callable[..., tuple[float, float]], ways: Sequence[tuple[Any, ...]], rounds: int
) -> dict[tuple[Any, ...], list[tuple[float, float]]]:
    """Time and memory of each way in processes of their own, round by round."""
    found: dict[tuple[Any, ...], list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, made in found.items():
            with multiprocessing.get_context("spawn").Pool(1) as process:
                made.append(process.apply(function, way))
            print(number, "{:.3f}, {:.0f} MiB".format(*made[-1]), *way[:2], flush=True)
    return found


def long(options: argparse.Namespace) -> None:
    """A step on one long text, with all scores in memory and in pieces."""
    ways = [(at_once, options.threads) for at_once in WAYS.values()]
    found = in_turn(long_step, ways, options.rounds)
    lines = ["| scores | seconds a step | ratio | MiB at the peak |", "|---|---|---|---|"]
    for name, way in zip(WAYS, ways, strict=True):
        seconds, mib = (statistics.median(each) for each in zip(*found[way], strict=True))
        pairs = zip(found[way], found[ways[0]], strict=True)
        ratio = statistics.median(one / other for (one, _), (other, _) in pairs)
        lines.append(f"| {name} | {seconds:.1f} | {ratio:.2f} | {mib:,.0f} |")
    note = (
        f"`task=language_model` on one text of {LENGTH:,} units of {UNITS:,}: {LENGTH * UNITS:,} "
        "scores. 4 layers of width 128 that attend to the last 256 units; forward, backward and "
        f"AdamW, the second step of {options.rounds} processes each. Threads: {options.threads}."
    )
    title = "One long text with a large vocabulary"
    record("vocabulary-long", title, "python -m benchmarks.vocabulary long", lines, now(), note)


def captions(options: argparse.Namespace) -> None:
    """Steps on captions, by loss and by what happens to freed memory."""
    settings = [f"paths.data={options.data}", f"trainer.threads={options.threads}"]
    overrides = ["experiment=multi30k", "trainer.accelerator=cpu", *settings]
    prepared = prepared_data(compose.load(overrides)[0])
    ways = [(loss, memory, tuple(overrides)) for loss, memory in product(LOSSES, MEMORY)]
    found = in_turn(measured, ways, options.rounds)
    plain = found[ways[0]]
    table = [
        "| loss | freed memory | ms a step | ratio | MiB at the peak |",
        "|---|---|---|---|---|",
    ]
    for (loss, memory, _), rounds in found.items():
        ms, mib = (statistics.median(each) for each in zip(*rounds, strict=True))
        ratios = [one / other for (one, _), (other, _) in zip(rounds, plain, strict=True)]
        cells = loss, memory, f"{ms:.0f}", f"{statistics.median(ratios):.2f}", f"{mib:.0f}"
        table.append(f"| {' | '.join(cells)} |")
    title, command = "Steps with a vocabulary", "python -m benchmarks.vocabulary captions"
    note = (
        "The Transformer of 2.6 M parameters on captions, 10,000 pieces, 2,048 of them a batch; "
        f"forward, backward and update, threads: {options.threads}, rounds: {options.rounds}."
    )
    record("vocabulary", title, command, table, now(prepared.digest), note)


SECTIONS = {f.__name__: f for f in (captions, long)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps of a model with many words.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    holds = "folder that holds multi30k_ende/tok"
    parser.add_argument("--data", default="../shared/data", help=holds)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.sections or SECTIONS:
        SECTIONS[name](options)


if __name__ == "__main__":
    main()
