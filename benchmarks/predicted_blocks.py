"""Predicted blocks beside other choices of the same size: on haystack, and in time.

python -m benchmarks.predicted_blocks                    # both, half an hour on one core
python -m benchmarks.predicted_blocks haystack speed     # one of them

One model is trained on short texts with all blocks read, while predictors learn beside it. The same
weights then read some blocks only, chosen in each way, in texts as long as those of training and
longer. Time is that of a larger model with random weights, whose choices cost the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.block_scores import Learned
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.predicted import Predicted
from attnlab.attention.public import mechanism_config
from attnlab.data.loader import Items, eval_loader
from attnlab.metrics.blocks import ReadBlocks, positions_of_rows, predictors, recorded_choices
from attnlab.metrics.figures import bootstrap
from attnlab.models.transformer_layers import EncoderLayer
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from benchmarks.results import now, record
from benchmarks.runs import RUNS, Training, origin

COMMAND = "python -m benchmarks.predicted_blocks"
TRAINING = Training(
    RUNS / "haystack",
    (
        "experiment=haystack",
        "dataset.train=12000",
        "dataset.val=200",
        "dataset.test=500",
        "trainer.max_epochs=5",
        "attention.structure.dense_steps=1000000",  # the model is dense, the predictors learn
    ),
)
NAMES = {
    "dense": "all blocks",
    "mass": "mass of the dense map (oracle)",
    "learned": "predicted",
    "bounds": "bounds of keys (Quest)",
    "means": "means of keys (MoBA)",
    "nearest": "sink and window",
    "random": "random",
}
SETTINGS = ((128, 0.375, 500), (1024, 0.1, 100), (4096, 0.05, 25))  # words, share, texts


def choose(
    structures: Sequence[Predicted], learned: Sequence[Learned | None], by: str, density: float
) -> None:
    """Let structures choose in another way; the own block is always one."""
    for structure, predictor in zip(structures, learned, strict=True):
        structure.dense_steps = 10**9 if by == "dense" else 0
        structure.density, structure.sink = density, int(by == "nearest")
        structure.by, structure.predictor = by, predictor if by == "learned" else None


@torch.no_grad()
def evaluated(trained: TrainedRun, length: int, texts: int) -> dict[str, Any]:
    """Accuracy, and what the blocks read hold, over test texts of a length."""
    source = replace(trained.config.dataset.build(), length=length, test=texts)
    items = Items(list(source.examples("test")), trained.prepared.codec, kept=0)
    model, task, blocks, right = trained.model, trained.task, ReadBlocks(), []
    for batch in eval_loader(items, max(1, 8192 // length), pin=False):
        with recorded_choices(model) as calls:
            scores = task.run(model, batch)
        blocks.update(calls, batch.target, positions_of_rows(task, model, scores, batch))
        right += (scores[:, -1].argmax(-1) == batch.answer.values[:, 0]).float().tolist()
    return {"accuracy": bootstrap(right), **blocks.compute()}


def haystack() -> None:
    """Answers and blocks of one trained model, by what chooses its blocks."""
    TRAINING.run()
    trained = TrainedRun(open_run(TRAINING.folder))
    structures = list(predictors(trained.model).values())
    learned = [structure.predictor for structure in structures]
    lines = [
        "| words | blocks chosen by | blocks read | accuracy | mass held | evidence read |",
        "|---|---|---|---|---|---|",
    ]
    for length, density, texts in SETTINGS:
        for by, name in NAMES.items():
            choose(structures, learned, by, density)
            found = evaluated(trained, length, texts)
            shares = (found[key] for key in ("block_mass", "block_evidence"))
            accuracy = found["accuracy"]
            cells = [
                f"{length:,}",
                name,
                f"{found['block_density']:.1%}",
                f"{accuracy.mean:.3f} ({accuracy.low:.3f} - {accuracy.high:.3f})",
                *(f"{share:.3f}" for share in shares),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Questions of one and two hops, by one model of 2 layers and width 64 trained on texts of "
        "128 words with all blocks read, whose predictors learned from its dense maps and from "
        "gold evidence; the same weights throughout. Blocks of 16, the own among them. "
        "Mass held: share of the dense map's weight in the blocks read; evidence read: share "
        "of the gold facts that the block of the question reads in some head, mean over layers. "
        "Goals: evidence at least 0.99, accuracy within 0.005 of all blocks, predicted before all "
        "but the oracle."
    )
    record(
        "haystack-blocks",
        "Which blocks to read, on haystack",
        f"{COMMAND} haystack",
        lines,
        origin([TRAINING]),
        note=note,
    )


class Stack(nn.Module):
    """Layers of an encoder without embeddings: width 256, four heads, feed-forward of 512."""

    dim, dropout, feedforward_dim, feedforward_dropout, norm = 256, 0.0, 512, 0.0, "before"

    def __init__(self, layers: int, **structure: Any) -> None:
        super().__init__()
        self.structure = structure
        self.layers = nn.ModuleList(
            EncoderLayer(self, None, f"encoder.self.{i}")  # type: ignore[arg-type]
            for i in range(layers)
        )

    def attention(self, config: Any, site: str, **sizes: Any) -> nn.Module:
        """A mechanism of the stack's own, whatever the config."""
        made = mechanism_config("multihead", self.structure, {})
        widths = dict.fromkeys(("query_dim", "key_dim", "value_dim", "output_dim"), self.dim)
        return Attention(made, **widths, site=site)

    def forward(self, states: Tensor) -> Tensor:
        """batch x length x dim."""
        for layer in self.layers:
            states = layer(states, Mask())
        return states


def timed(model: nn.Module, states: Tensor) -> float:
    began = time.perf_counter()
    model(states)
    return time.perf_counter() - began


def runs(dense: nn.Module, sparse: nn.Module, length: int) -> Iterator[tuple[float, float]]:
    """Seconds of both, one after the other: once at a great length, else three times."""
    states = torch.randn(1, length, Stack.dim)
    for model in (sparse,) if length > 10_000 else (dense, sparse):
        model(states)
    for _ in range(1 if length > 10_000 else 3):
        yield timed(dense, states), timed(sparse, states)


@torch.no_grad()
def speed(threads: int = 1) -> None:
    """The forward pass of four layers from end to end, against the same layers dense."""
    lines = [
        "| positions | blocks read | dense s | predicted s | times faster (goal at 32,768: 8) |",
        "|---|---|---|---|---|",
    ]
    for length in (2048, 8192, 32768):
        for density in (0.1, 0.05):
            torch.manual_seed(0)
            dense = Stack(4).eval()
            sparse = Stack(
                4, structure={"kind": "predicted", "block": 64, "density": density}
            ).eval()
            found = sorted(runs(dense, sparse, length), key=lambda pair: pair[0] / pair[1])
            slow, fast = found[len(found) // 2]
            cells = (
                f"{length:,}",
                f"{density:.0%}",
                f"{slow:.2f}",
                f"{fast:.2f}",
                f"{slow / fast:.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Four layers of width 256 with four heads and feed-forward layers of 512, random weights, "
        f"one text; the predictor's time counts. Dense is SDPA. Threads: {torch.get_num_threads()}."
    )
    record(
        "predicted-speed",
        "Forward pass with predicted blocks",
        f"{COMMAND} speed",
        lines,
        now(),
        note=note,
    )


SECTIONS = {f.__name__: f for f in (haystack, speed)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicted blocks beside other choices.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.sections or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main()
