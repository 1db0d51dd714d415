"""Pictures and words: questions, captions, phrases, each beside a control that lacks one of them.

    python -m benchmarks.crossmodal              # all; what ran is picked up
    python -m benchmarks.crossmodal questions    # some

The runs are kept in runs/benchmarks/crossmodal. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from attnlab.attention.probes import Tap
from attnlab.data.loader import eval_loader
from attnlab.learning.judge import Judge
from attnlab.metrics.plausibility import map_metrics
from attnlab.stages.learners import load_learner
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run
from benchmarks.tables import Tables, Trained, seconds, values

QUESTIONS = {
    "two looks, supervised": ("supervised", ()),
    "the same with co-attention": ("co_attention", ("model.co_attention=1",)),
    "the same without supervision of maps": ("unsupervised", ("objective=unsupervised",)),
    "question alone (no picture)": ("blind", ("+dataset.missing.image=1",)),
    "picture alone (no question)": ("unasked", ("+dataset.missing.question=1",)),
}


def questions(data: str, trained: Trained) -> Iterator[str]:
    """A question about a picture: who answers, and where was looked."""
    yield "| model | accuracy (target 0.98) | mass on gold (target 0.9) | pointing | seconds |"
    yield "|---|---|---|---|---|"
    for name, (folder, overrides) in QUESTIONS.items():
        runs = trained(f"questions_{folder}", "experiment=questions_long", *overrides)
        seen = folder != "blind"  # who has no picture has no map
        cells = [
            values(runs, "answer", "accuracy"),
            values(runs, "attention", "mass_on_gold") if seen else "",
            values(runs, "attention", "pointing_accuracy") if seen else "",
            seconds(runs),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


LACKING: dict[str, dict[str, float]] = {
    "nothing": {},
    "its question": {"question": 1.0},
    "its picture": {"image": 1.0},
}


def missing(data: str, trained: Trained) -> Iterator[str]:
    """The same run judged with everything, and without one of its inputs."""
    rows = {
        "never met it": ("supervised", "+dataset.missing.image=0"),
        "a fifth of the inputs left out in training": ("dropout", "model.input_dropout=0.2"),
    }
    yield f"| training | {' | '.join(f'lacks {lack}' for lack in LACKING)} |"
    yield "|---|---|---|---|"
    for name, (run_name, override) in rows.items():
        folder = f"questions_missing_{run_name}"
        trained(folder, "experiment=questions_long", override)
        runs = [open_run(str(each)) for each in trained.folders(folder)]
        cells = [
            values([judged(run, lacks) for run in runs], "accuracy") for lacks in LACKING.values()
        ]
        yield f"| {name} | {' | '.join(cells)} |"


@torch.no_grad()
def judged(run: Run, lacks: Mapping[str, float]) -> dict[str, float]:
    """The figures of the test split, where shares of its examples lack inputs."""
    data = prepared_data(run.config).lacking(lacks)
    learner = load_learner(run, data)
    model, task = learner.model, learner.task
    judge = Judge(task, map_metrics(run.config.metrics))
    items = [data.codec.encode(example, i) for i, example in enumerate(data.examples("test"))]
    for batch in eval_loader(items, 250, pin=False):
        with Tap(model, task.map) as tap:
            scores = task.run(model, batch)
        answers = model.answer(batch)  # type: ignore[operator]
        judge.update(batch, scores, answers, tap.weights().mean(1))
    return judge.compute()


CAPTIONS = {
    "show, attend and tell, supervised": ("supervised", ()),
    "the same without supervision of maps": ("unsupervised", ("objective=unsupervised",)),
    "no picture": ("blind", ("+dataset.missing.image=1",)),
}


def captions(data: str, trained: Trained) -> Iterator[str]:
    """What stands where on a canvas, in words."""
    yield "| model | exact match (target 0.9) | pointing (target 0.9) | mass on gold | seconds |"
    yield "|---|---|---|---|---|"
    for name, (folder, overrides) in CAPTIONS.items():
        words = ("experiment=canvas_caption", "dataset.train=40000", *overrides)
        runs = trained(f"captions_{folder}", *words)
        seen = folder != "blind"
        cells = [
            values(runs, "answer", "exact_match"),
            values(runs, "attention", "pointing_accuracy") if seen else "",
            values(runs, "attention", "mass_on_gold") if seen else "",
            seconds(runs),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def phrases(data: str, trained: Trained) -> Iterator[str]:
    """From a phrase to the region that it speaks of."""
    rows = {
        "phrase and picture": ("whole", ()),
        "picture alone (no phrase)": ("unasked", ("+dataset.missing.phrase=1",)),
    }
    yield "| model | pointing | mass on gold | seconds |"
    yield "|---|---|---|---|"
    for name, (folder, overrides) in rows.items():
        runs = trained(f"phrases_{folder}", "experiment=canvas_point", *overrides)
        figures = [values(runs, "attention", f) for f in ("pointing_accuracy", "mass_on_gold")]
        yield f"| {name} | {' | '.join(figures)} | {seconds(runs)} |"


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
