"""Predicted blocks beside other choices of the same size, on haystack.

python -m benchmarks.predicted_blocks             # all, a quarter of an hour on one core
python -m benchmarks.predicted_blocks haystack    # some: haystack, targets

One model is trained on short texts with all blocks read, while predictors learn beside it. The same
weights then read some blocks only, chosen in each way, in texts as long as those of training and
longer. What it saves in time is in `benchmarks.sparse forward`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from attnlab.attention.block_predictors import BlockPredictor, Indexer, Learned
from attnlab.attention.parts import Shape
from attnlab.attention.predicted import Predicted
from attnlab.attention.taps import Tap
from attnlab.data.loader import Items, eval_loader
from attnlab.metrics.figures import bootstrap
from attnlab.metrics.read_blocks import ReadBlocks, positions_of_rows, predictors, recorded_choices
from attnlab.objectives.predictors import BlockDistillation, BlockGold, BlockTerm
from attnlab.objectives.terms import StepView
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from benchmarks.results import record, run_sections
from benchmarks.runs import RUNS, Training, origin, verdict

COMMAND = "python -m benchmarks.predicted_blocks"
TRAINING = Training(
    RUNS / "haystack",
    (
        "experiment=haystack",
        "dataset.train=8000",
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
SETTINGS = ((128, 0.375, 500), (1024, 0.1, 100), (4096, 0.05, 16))  # words, share, texts


Predictors = Sequence[BlockPredictor | None]


def choose(
    structures: Sequence[Predicted], learned: Mapping[str, Predictors], by: str, density: float
) -> None:
    """Let structures choose in another way, those that are learned by their predictors; the own
    block is always one."""
    own = learned.get(by, [None] * len(structures))
    for structure, predictor in zip(structures, own, strict=True):
        structure.dense_steps = 10**9 if by == "dense" else 0
        structure.density, structure.sink = density, int(by == "nearest")
        structure.by, structure.predictor = by, predictor


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
    own = [structure.predictor for structure in structures]
    new = taught(trained, TARGETS["both"][0], "indexer", steps=INDEXER_STEPS)
    learned = {"learned": own, "indexer": new}
    lines = [
        "| words | blocks chosen by | blocks read | accuracy | mass held | evidence read |",
        "|---|---|---|---|---|---|",
    ]
    reached = []
    for length, density, texts in SETTINGS:
        made = {}
        for by, name in (NAMES | {"indexer": "predicted by an indexer"}).items():
            choose(structures, learned, by, density)
            found = made[by] = evaluated(trained, length, texts)
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
        reached.append(f"{length:,} words: {verdicts(made)}")
    note = (
        "Questions of one and two hops, by one model of 2 layers and width 64 trained on texts of "
        "128 words with all blocks read, whose predictors learned from its dense maps and from "
        "gold evidence; the same weights throughout. The indexer learned from the same, in "
        f"{INDEXER_STEPS} steps with weights that stayed as they were. Blocks of "
        "16, the own among them. Mass held: share of the dense map's weight in the blocks read; "
        "evidence read: share of the gold facts that the block of the question reads in some head, "
        "mean over layers."
    )
    record(
        "haystack-blocks",
        "Which blocks to read, on haystack",
        f"{COMMAND} haystack",
        lines,
        origin([TRAINING]),
        note=f"{note}\n\n{'; '.join(reached)}.",
    )


def verdicts(found: Mapping[str, Any]) -> str:
    """What the predicted blocks reach of the goals, beside the other choices."""
    own, lost = (
        found["learned"],
        found["dense"]["accuracy"].mean - found["learned"]["accuracy"].mean,
    )
    others = [found[by] for by in NAMES if by not in ("dense", "mass", *KINDS)]
    before = [all(own[f] >= each[f] for each in others) for f in ("block_mass", "block_evidence")]
    verdicts = [
        f"evidence {verdict(0.99, own['block_evidence'])}",
        f"accuracy lost against all blocks {verdict(0.005, lost, less_is_better=True)}",
        *(
            f"{'most' if first else 'not most'} {what} but for the oracle"
            for first, what in zip(before, ("mass", "evidence"), strict=True)
        ),
    ]
    return ", ".join(verdicts)


TARGETS: dict[str, tuple[tuple[BlockTerm, ...], int]] = {  # losses, and how many texts there are
    "dense maps": ((BlockDistillation(rows=None, pool="mean"),), 4800),
    "gold evidence": ((BlockGold(queries="last"),), 4800),
    "gold evidence of 160 texts": ((BlockGold(queries="last"),), 160),
    "both": ((BlockDistillation(rows=None, pool="mean"), BlockGold(queries="last")), 4800),
}
STEPS, INDEXER_STEPS, SEEDS = 150, 600, 3
KINDS: dict[str, Callable[[Shape], BlockPredictor]] = {
    "learned": lambda shape: Learned(shape, 16),
    "indexer": lambda shape: Indexer(shape, 16, 4),
}


def taught(
    trained: TrainedRun,
    terms: Sequence[BlockTerm],
    kind: str = "learned",
    texts: int = 4800,
    seed: int = 0,
    steps: int = STEPS,
) -> Predictors:
    """New predictors for a model that stays as it is, trained on texts as long as its own."""
    torch.manual_seed(seed)
    model, task, structures = trained.model, trained.task, predictors(trained.model)
    for structure in structures.values():
        structure.by, structure.predictor = kind, KINDS[kind](structure.shape)
        structure.dense_steps = 10**9
    optimizer = torch.optim.Adam(
        [p for each in structures.values() for p in each.parameters()], lr=3e-3
    )
    source = replace(trained.config.dataset.build(), train=texts, seed=seed + 1)
    items = Items(list(source.examples("train")), trained.prepared.codec, kept=texts)
    batches = itertools.cycle(eval_loader(items, 32, pin=False))
    for term in terms:
        term.applies_to(model)
    for step, batch in enumerate(itertools.islice(batches, steps)):
        with ExitStack() as stack, torch.no_grad():
            taps = {site: stack.enter_context(Tap(model, site)) for site in structures}
            scores = task.run(model, batch)
        sums, counts = task.losses(scores, batch)
        view = StepView(batch, model, task, scores, sums.detach(), counts, taps, step)
        loss = torch.stack([term(view).value for term in terms]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [structure.predictor for structure in structures.values()]


def targets() -> None:
    """What predictors learn from: one trained model, new predictors for each seed."""
    TRAINING.run()
    trained = TrainedRun(open_run(TRAINING.folder))
    structures = list(predictors(trained.model).values())
    length, density, texts = SETTINGS[1]
    lines = [
        "| predictor learned from | accuracy | mass held | evidence read |",
        "|---|---|---|---|",
    ]
    for name, (terms, known) in TARGETS.items():
        found = []
        for seed in range(SEEDS):
            learned = {"learned": taught(trained, terms, texts=known, seed=seed)}
            choose(structures, learned, "learned", density)
            made = evaluated(trained, length, texts)
            found.append((made["accuracy"].mean, made["block_mass"], made["block_evidence"]))
        cells = [
            f"{sum(each) / SEEDS:.3f} ({min(each):.3f} - {max(each):.3f})"
            for each in zip(*found, strict=True)
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    note = (
        f"The model of the table above, in texts of {length:,} words of which {density:.0%} of the "
        f"blocks are read; new predictors, {STEPS} steps of 32 texts of 128 words, of which there "
        f"are 4,800 unless it is said. Mean of {SEEDS} seeds, and the range."
    )
    title = "What predictors of blocks learn from"
    record("haystack-targets", title, f"{COMMAND} targets", lines, origin([TRAINING]), note=note)


SECTIONS = {f.__name__: f for f in (haystack, targets)}


def main() -> None:
    run_sections(SECTIONS, "Predicted blocks beside other choices.", threads=1)


if __name__ == "__main__":
    main()
