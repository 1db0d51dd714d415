"""One long text, the next character of Shakespeare: some blocks of keys, or a cache with a budget.

    python -m benchmarks.long_text --data ../shared/data            # an hour, most of it training
    python -m benchmarks.long_text --data ../shared/data decoding   # some; see SECTIONS

One model is trained on texts of 4,096 characters with all keys read, while predictors of blocks
learn beside it. The same weights then read a tenth of the blocks (`blocks`), also after an epoch in
which they did so (`trained`), or write with a cache that holds a fifth of the keys (`decoding`).
`steps` times a step of training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.attention.eviction import evicting
from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.config.section import config_dir
from attnlab.config.task import Eviction
from attnlab.data.batch import Batch
from attnlab.data.loader import Items, eval_loader
from attnlab.metrics.read_blocks import ReadBlocks, predictors, recorded_choices
from attnlab.objectives.terms import StepView
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from attnlab.tasks.language_model.task import prompts
from attnlab.tasks.task import build_model
from benchmarks.attention import median, paired, ratio
from benchmarks.predicted_blocks import NAMES, choose
from benchmarks.results import now, record
from benchmarks.runs import RUNS, Training, origin, verdict

COMMAND = "python -m benchmarks.long_text --data ../shared/data"
LENGTH = 4096
WORDS = (
    "experiment=tinyshakespeare",
    f"dataset.context={LENGTH + 1}",
    "task.max_length=64",
    "model.max_length=8192",
    "trainer.batches.size=1",
    "trainer.batches.eval_size=1",
    "trainer.max_epochs=5",
    "stages=[prepare,train]",
)
PREDICTED = ("attention/structure=predicted", "objective/terms=[block_distillation]")
OWN_KEY = ("attention/structure=window", *(f"attention.structure.{s}=0" for s in ("left", "right")))
ALL_READ = "attention.structure.dense_steps=1000000"
LOWER_RATE = "trainer.optimizer.lr=0.001"
DENSITY, KEPT, TEXTS = 0.1, 0.2, 4
EVICTIONS = {
    "window": "sink and window",
    "h2o": "accumulated weight (H2O)",
    "snapkv": "weight of the latest queries (SnapKV)",
    "expected": "expected weight",
    "predicted": "predicted blocks",
}


class Bench:
    """The trained model, and the texts that it is tested on."""

    def __init__(self, data: str) -> None:
        words = (*WORDS, *PREDICTED, ALL_READ, f"paths.data={data}")
        self.training = Training(RUNS / "long_text" / "dense", words)
        self.training.run()
        self.data = data
        self.trained = TrainedRun(open_run(self.training.folder))

    def batches(self, texts: int, at_once: int) -> list[Batch]:
        """Test texts of the full length."""
        examples = [
            each
            for each in self.trained.prepared.examples("test")
            if len(each.inputs["text"]) == LENGTH + 1  # type: ignore[arg-type]
        ]
        items = Items(examples[:texts], self.trained.prepared.codec, kept=0)
        return list(eval_loader(items, at_once, pin=False))


def losses_of(scores: Tensor, units: Tensor) -> Tensor:
    """Nats a character of each text: scores batch x length x vocabulary."""
    return F.cross_entropy(scores[:, :-1].mT, units[:, 1:], reduction="none").mean(1)


@torch.no_grad()
def blocks(bench: Bench) -> None:
    """Perplexity of the trained weights where a tenth of the blocks is read, by what chooses."""
    trained = bench.trained
    model, structures = trained.model, list(predictors(trained.model).values())
    learned = {"learned": [each.predictor for each in structures]}
    batches, found = bench.batches(TEXTS, 1), {}
    lines = [
        "| blocks chosen by | blocks read | mass held | perplexity | over dense |",
        "|---|---|---|---|---|",
    ]
    for by, name in NAMES.items():
        choose(structures, learned, by, DENSITY)
        held, losses = ReadBlocks(), []
        for batch in batches:
            with recorded_choices(model) as calls:
                scores = model(batch)
            held.update(calls, batch.target, None)
            losses.append(losses_of(scores, batch.inputs["text"].values))
        found[by] = float(torch.cat(losses).mean().exp())
        shares = held.compute()
        over = found[by] / found["dense"] - 1
        cells = (f"{shares['block_density']:.1%}", f"{shares['block_mass']:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} | {found[by]:.3f} | {over:+.2%} |")
    choose(structures, learned, "learned", DENSITY)
    reached = verdict(0.01, found["learned"] / found["dense"] - 1, less_is_better=True)
    note = (
        f"{TEXTS} test texts of {LENGTH:,} characters, 4 layers of width 128; blocks of 64, the "
        "own always read. The weights were trained with all blocks read. Perplexity of predicted "
        f"blocks over dense, at most {reached}."
    )
    title = "Long text: a tenth of the blocks"
    record("long-text-blocks", title, f"{COMMAND} blocks", lines, origin([bench.training]), note)


@torch.no_grad()
def trained(bench: Bench) -> None:
    """One more epoch from the trained weights: with all blocks read, and with a tenth."""
    more = (f"model.init={bench.training.folder}", "trainer.max_epochs=1", LOWER_RATE)
    share = f"attention.structure.density={DENSITY}"
    ways = {"all": (*PREDICTED, ALL_READ), "a tenth": (*PREDICTED, share)}
    runs = {
        name: Training(
            RUNS / "long_text" / name.replace(" ", "_"),
            (*WORDS, *words, *more, f"paths.data={bench.data}"),
        )
        for name, words in ways.items()
    }
    batches, found = bench.batches(1000, 1), {}
    lines = ["| blocks read in the last epoch | perplexity | over all |", "|---|---|---|"]
    for name, run in runs.items():
        run.run()
        model = TrainedRun(open_run(run.folder)).model
        losses = [losses_of(model(each), each.inputs["text"].values) for each in batches]
        found[name] = float(torch.cat(losses).mean().exp())
        lines.append(f"| {name} | {found[name]:.3f} | {found[name] / found['all'] - 1:+.2%} |")
    over = verdict(0.01, found["a tenth"] / found["all"] - 1, less_is_better=True)
    note = (
        f"Five epochs with all blocks read, and one more from these weights; {len(batches)} test "
        f"texts, read as in the last epoch. Perplexity over that of all blocks, at most {over}."
    )
    title = "Long text: trained with a tenth of the blocks"
    origin_ = origin(list(runs.values()))
    record("long-text-trained", title, f"{COMMAND} trained", lines, origin_, note)


def steps(bench: Bench) -> None:
    """The time of a step of training on one text of full length, dense and with a tenth read."""
    batch = bench.batches(1, 1)[0]
    sparse = (*PREDICTED, f"attention.structure.density={DENSITY}")
    rows = "objective.terms.block_distillation.rows"
    ways = {  # settings, and whether the predictor learns
        "dense, SDPA": (("attention.kernel=sdpa",), False),
        "dense, the fastest kernel": ((), False),
        "a tenth of the blocks, the predictor learns from all rows": (
            (*sparse, f"{rows}=null"),
            True,
        ),
        "a tenth, it learns from 4 rows of each block": ((*sparse, f"{rows}=4"), True),
        "a tenth, it learns from 1 row of each block": ((*sparse, f"{rows}=1"), True),
        "a tenth, it has learned": (sparse, False),
        "the own key alone, what is not attention": (OWN_KEY, False),
    }
    made = [_step(bench, batch, *way) for way in ways.values()]
    rounds = paired(made, seconds=60, least=3)
    lines = [
        "| step of training | seconds | SDPA / this | fastest dense / this |",
        "|---|---|---|---|",
    ]
    for number, name in enumerate(ways):
        ratios = " | ".join(f"{ratio(rounds, dense, number):.2f}" for dense in (0, 1))
        lines.append(f"| {name} | {median(rounds, number) / 1e3:.2f} | {ratios} |")
    learning, learned = (verdict(3, ratio(rounds, 0, number)) for number in (4, 5))
    note = (
        f"Forward, loss, backward and optimizer on one text of {LENGTH:,} characters. A tenth of "
        f"the blocks against SDPA, at least: {learning} (the predictor learns from one row), "
        f"{learned} (it has learned). Threads: {torch.get_num_threads()}."
    )
    title = "Long text: a step of training"
    record("long-text-steps", title, f"{COMMAND} steps", lines, now(), note)


def _step(bench: Bench, batch: Batch, words: tuple[str, ...], learns: bool) -> Callable[[], None]:
    """A step of training of a new model, perhaps with the loss of its predictors."""
    config, _ = load([*WORDS, *words, f"paths.data={bench.data}"])
    model = build_model(config, bench.trained.prepared.codec).train()
    task = config.task.build(bench.trained.prepared.codec)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    terms = [config.objective.terms["block_distillation"].build()] if learns else []
    for term in terms:
        term.applies_to(model)

    def step() -> None:
        with ExitStack() as stack:
            sites = [site for term in terms for site in term.sites()]
            taps = {site: stack.enter_context(Tap(model, site)) for site in sites}
            scores = task.run(model, batch)
        sums, counts = task.losses(scores, batch)
        loss = sums.sum() / counts.sum()
        view = StepView(batch, model, task, scores, sums.detach(), counts, taps, 0)
        for term in terms:
            made = term(view)
            loss = loss + made.value / made.count
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@torch.no_grad()
def stepped(model: Any, units: Tensor, eviction: Any) -> tuple[Tensor, float]:
    """Nats a character of texts that are read unit by unit, and the seconds of the processor that
    it took, which other work on the machine does not lengthen much."""
    with evicting([model], eviction):
        state = model.decoder.start(prompts(units[:, :1]))
    began, losses = time.process_time(), []
    for now_, following in zip(units[:, :-1].unbind(1), units[:, 1:].unbind(1), strict=True):
        scores = model.decoder.advance(now_[:, None], state)[:, -1]
        losses.append(F.cross_entropy(scores, following, reduction="none"))
    return torch.stack(losses).mean(0), time.process_time() - began


def eviction_of(kind: str, budget: int) -> Any:
    """An eviction with the settings of its file, but for the budget; 16 keys at once for all."""
    text = (config_dir() / "task" / "eviction" / f"{kind}.yaml").read_text()
    settings = yaml.safe_load(text) | {"budget": budget, "every": 16}
    return Eviction.model_validate(settings).build()


def decoding(bench: Bench) -> None:
    """Perplexity and speed of 4,096 steps with a fifth of the cache, by what is kept."""
    model: nn.Module = bench.trained.model
    choose([], {}, "dense", 1.0)
    for structure in predictors(model).values():
        structure.dense_steps = 10**9  # whatever is there is read
    budget = round(KEPT * LENGTH)
    ways: dict[str, Any] = {"": None} | {kind: eviction_of(kind, budget) for kind in EVICTIONS}
    (batch,) = bench.batches(TEXTS, TEXTS)
    losses, speeds = {}, {}
    for kind, eviction in ways.items():
        found, seconds = stepped(model, batch.inputs["text"].values, eviction)
        losses[kind], speeds[kind] = float(found.mean().exp()), LENGTH / seconds
    lines = [
        "| keys kept | perplexity | over all keys | steps a CPU second | times faster |",
        "|---|---|---|---|---|",
    ]
    for kind in ways:
        cells = (
            EVICTIONS.get(kind, "all"),
            f"{losses[kind]:.4f}",
            f"{losses[kind] / losses[''] - 1:+.2%}",
            f"{speeds[kind]:.0f}",
            f"{speeds[kind] / speeds['']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    others = min(losses[kind] for kind in ("window", "h2o", "snapkv"))
    own = losses["predicted"]
    over = verdict(0.01, own / losses[""] - 1, less_is_better=True)
    faster = verdict(2, speeds["predicted"] / speeds[""])
    first = "below" if own < others else "not below"
    note = (
        f"4,096 steps from the first character of {TEXTS} test texts at once, {budget} keys for "
        "each head, 16 evicted at once. Predicted blocks: perplexity over that of all keys at most "
        f"{over}; {first} the best of sink and window, H2O and SnapKV ({own:.4f}, {others:.4f}); "
        f"times faster at least {faster}. Threads: {torch.get_num_threads()}."
    )
    title = "Long text: a cache with a fifth of the keys"
    record(
        "long-text-decoding", title, f"{COMMAND} decoding", lines, origin([bench.training]), note
    )


SECTIONS = {f.__name__: f for f in (blocks, trained, steps, decoding)}


def main() -> None:
    parser = argparse.ArgumentParser(description="One long text.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--data", required=True, help="folder that holds tinyshakespeare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.data)
    for name in options.sections or SECTIONS:
        SECTIONS[name](bench)


if __name__ == "__main__":
    main()
