"""Pictures and words: questions, captions, phrases, each beside a control that lacks one of them.

    python -m benchmarks.crossmodal              # all; what ran is picked up
    python -m benchmarks.crossmodal questions    # some

The runs are kept in runs/benchmarks/crossmodal. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from attnlab.attention.taps import Tap
from attnlab.data.loader import eval_loader
from attnlab.metrics.pooled import map_metrics
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run
from attnlab.stages.trained_run import load_learner
from attnlab.training.evaluator import Evaluator
from benchmarks.tables import Tables, Trained, seconds, values

Systems = Mapping[str, tuple[str, tuple[str, ...]]]  # a title: name of the runs, overrides
Columns = Mapping[str, tuple[str, str]]  # a heading: where metrics.json has its figure
MASS, POINTING = ("attention", "mass_on_gold"), ("attention", "pointing_accuracy")


def compared(
    trained: Trained, experiment: tuple[str, ...], systems: Systems, columns: Columns
) -> Iterator[str]:
    """A line for each system; one that sees no picture has no map."""
    yield f"| model | {' | '.join(columns)} | seconds |"
    yield f"|{'---|' * (len(columns) + 2)}"
    for title, (name, overrides) in systems.items():
        runs = trained(name, *experiment, *overrides)
        if not runs:
            continue
        blind = name.endswith("_blind")
        cells = [
            "" if blind and path[0] == "attention" else values(runs, *path)
            for path in columns.values()
        ]
        yield f"| {title} | {' | '.join(cells)} | {seconds(runs)} |"


def questions(data: str, trained: Trained) -> Iterator[str]:
    """A question about a picture: who answers, and where was looked."""
    systems: Systems = {
        "two looks, supervised": ("questions_supervised", ()),
        "the same with co-attention": ("questions_co_attention", ("model.co_attention=1",)),
        "the same without supervision of maps": (
            "questions_unsupervised",
            ("objective=unsupervised",),
        ),
        "question alone (no picture)": ("questions_blind", ("+dataset.missing.image=1",)),
        "picture alone (no question)": ("questions_unasked", ("+dataset.missing.question=1",)),
    }
    columns = {
        "accuracy (target 0.98)": ("answer", "accuracy"),
        "mass on gold (target 0.9)": MASS,
        "pointing": POINTING,
    }
    yield from compared(trained, ("experiment=questions_long",), systems, columns)


LACKING: dict[str, dict[str, float]] = {
    "nothing": {},
    "its question": {"question": 1.0},
    "its picture": {"image": 1.0},
}


def missing(data: str, trained: Trained) -> Iterator[str]:
    """The same run evaluated with everything, and without one of its inputs."""
    rows = {
        "never met it": ("supervised", "+dataset.missing.image=0"),
        "a fifth of the inputs left out in training": ("dropout", "model.input_dropout=0.2"),
    }
    yield f"| training | {' | '.join(f'lacks {lack}' for lack in LACKING)} |"
    yield "|---|---|---|---|"
    for name, (run_name, override) in rows.items():
        folder = f"questions_missing_{run_name}"
        made = trained.runs(folder, "experiment=questions_long", override)
        if not made:
            continue
        runs = [open_run(each.folder) for each in made]
        cells = [
            values([evaluated(run, lacks) for run in runs], "accuracy")
            for lacks in LACKING.values()
        ]
        yield f"| {name} | {' | '.join(cells)} |"


@torch.no_grad()
def evaluated(run: Run, lacks: Mapping[str, float]) -> dict[str, float]:
    """The figures of the test split, where shares of its examples lack inputs."""
    data = prepared_data(run.config).lacking(lacks)
    learner = load_learner(run, data)
    model, task = learner.model, learner.task
    evaluator = Evaluator(task, map_metrics(run.config.metrics))
    items = [data.codec.encode(example, i) for i, example in enumerate(data.examples("test"))]
    for batch in eval_loader(items, 250, pin=False):
        with Tap(model, task.map) as tap:
            scores = task.run(model, batch)
        answers = task.answer(model, batch)
        evaluator.update(batch, scores, answers, tap.weights().mean(1))
    return evaluator.compute()


def captions(data: str, trained: Trained) -> Iterator[str]:
    """What stands where on a canvas, in words."""
    systems: Systems = {
        "show, attend and tell, supervised": ("captions_supervised", ()),
        "the same without supervision of maps": (
            "captions_unsupervised",
            ("objective=unsupervised",),
        ),
        "no picture": ("captions_blind", ("+dataset.missing.image=1",)),
    }
    columns = {
        "exact match (target 0.9)": ("answer", "exact_match"),
        "pointing (target 0.9)": POINTING,
        "mass on gold": MASS,
    }
    experiment = ("experiment=canvas_caption", "dataset.train=40000")
    yield from compared(trained, experiment, systems, columns)


def phrases(data: str, trained: Trained) -> Iterator[str]:
    """From a phrase to the region that it speaks of."""
    systems: Systems = {
        "phrase and picture": ("phrases_whole", ()),
        "picture alone (no phrase)": ("phrases_unasked", ("+dataset.missing.phrase=1",)),
    }
    columns = {"pointing": POINTING, "mass on gold": MASS}
    yield from compared(trained, ("experiment=canvas_point",), systems, columns)


TABLES = Tables(
    "crossmodal",
    {
        "questions": (
            "Questions about pictures",
            questions,
            "The first look is towards the digit asked about, the second towards the one that "
            "answers; a tenth of the answers are right by chance.",
        ),
        "missing": (
            "Questions without their pictures, pictures without their questions",
            missing,
            "Accuracy of the same runs on the same test questions.",
        ),
        "captions": (
            "Captions of a canvas",
            captions,
            "Pointing: the peak of a word's map lies in the box of the digit it names or places.",
        ),
        "phrases": ("From phrases to regions", phrases, "Phrases name a digit, or its place."),
    },
)

if __name__ == "__main__":
    TABLES.main()
