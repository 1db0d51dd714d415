"""Slots and intents of ATIS, entities of WNUT 2017: with and without a chain of tags.

    python -m benchmarks.tagging --data ../shared/data           # all; what ran is picked up
    python -m benchmarks.tagging --data ../shared/data slots     # some

The runs are kept in runs/benchmarks/tagging. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from attnlab.metrics.figures import Values, interval, two_sided_p
from attnlab.report.tables import RESAMPLES, read_table
from benchmarks.runs import Training, figures, of_controls, verdict
from benchmarks.tables import Tables, Trained, seconds, values

HEAD = (
    "| system | figure | measured | 95 % over examples | target | published | seconds |",
    "|---|---|---|---|---|---|---|",
)


def slots(data: str, trained: Trained) -> Iterator[str]:
    """ATIS: what the chain of tags is worth."""
    chain = trained.runs("slots", "experiment=atis")
    alone = trained.runs("slots_alone", "experiment=atis", "task.crf=false")
    yield from HEAD
    yield from controls(chain, "span_f1")
    yield from line("a chain of tags", "span_f1", chain, 0.95, "95.9 (BiLSTM-CRF)")
    yield from line("each tag by itself", "span_f1", alone)
    if not (chain and alone):
        return
    differences = drawn(chain, "span_f1") - drawn(alone, "span_f1")
    worth = interval(_mean(chain, "span_f1") - _mean(alone, "span_f1"), differences, 0.95)
    yield ""
    yield f"The chain is worth {worth} of F1 (p = {two_sided_p(differences):.3f})."


def intents(data: str, trained: Trained) -> Iterator[str]:
    """ATIS: what somebody wants."""
    yield from HEAD
    heads = trained.runs("intents", "experiment=atis_intent")
    additive = trained.runs("intents_additive", "experiment=atis_intent", "attention=additive")
    yield from controls(heads, "accuracy")
    yield from line("multi-head attention", "accuracy", heads, 0.965, "96.9")
    yield from line("additive attention", "accuracy", additive)


def entities(data: str, trained: Trained) -> Iterator[str]:
    """WNUT 2017: names that training has not seen."""
    yield from HEAD
    runs = trained.runs("entities", "experiment=wnut17", seeds=1)
    yield from controls(runs, "span_f1")
    yield from line("a chain of tags, no pretrained vectors", "span_f1", runs)


def line(
    title: str,
    figure: str,
    runs: Sequence[Training],
    target: float | None = None,
    published: str = "",
) -> Iterator[str]:
    """The line of a system; none where it has not run."""
    if not runs:
        return
    found, mean = figures(runs), _mean(runs, figure)
    cells = [
        figure,
        values(found, "answer", figure),
        str(interval(mean, drawn(runs, figure), 0.95)),
        "" if target is None else verdict(target, mean),
        published,
        seconds(found),
    ]
    yield f"| {title} | {' | '.join(cells)} |"


def controls(runs: Sequence[Training], figure: str) -> Iterator[str]:
    """The lines of answers that know nothing, or little."""
    for name, value in of_controls(runs, figure):
        yield f"| {name} | {figure} | {value:.4f} | | | | |"


def drawn(runs: Sequence[Training], figure: str) -> Values:
    """The mean over runs of a figure, for every draw of test examples."""
    tables = [read_table(run.folder / RESAMPLES, "evaluating again") for run in runs]
    return np.mean([[float(value) for value in table[figure]] for table in tables], axis=0)


def _mean(runs: Sequence[Training], figure: str) -> float:
    return float(np.mean([run.figures()["answer"][figure] for run in runs]))


TABLES = Tables(
    "tagging",
    {
        "slots": ("Slots: ATIS", slots, "Draws are paired."),
        "intents": (
            "Intents: ATIS",
            intents,
            "No data but the training part. Of additive attention, with one seed, the following "
            "were no better: pieces of words (0.944), convolutions (0.933), two layers (0.959), no "
            "label smoothing (0.945), twice as much of it (0.959). Three in ten of its wrong "
            "answers name one of the two intents that a question has: one head looks at one place.",
        ),
        "entities": ("Entities: WNUT 2017", entities, "Emerging names; one seed."),
    },
)

if __name__ == "__main__":
    TABLES.main()
