"""Answers under attack, noise on maps, few labels: what training for each is worth.

    python -m benchmarks.robust --data ../shared/data            # all; what ran is picked up
    python -m benchmarks.robust --data ../shared/data pictures   # some

Texts are files as a user has them (`benchmarks.own_files`), with the command proposed for them.
`--threads` is of each training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from attnlab.datasets.inspection import inspect
from attnlab.metrics.figures import bootstrap
from attnlab.stages.data import overrides
from benchmarks.minilm import encoder
from benchmarks.own_files import csv_rows, label_files
from benchmarks.runs import Training, figures, over, verdict
from benchmarks.tables import Tables, Trained, seconds

SIZE = 0.3  # largest change of a pixel
PGD = ("--kinds", "fgsm,pgd", "--size", str(SIZE), "--steps", "40", "--restarts", "5")
PIXELS = (
    "experiment=mnist",
    "model.image.channels=[32,64]",
    "~dataset.augment.affine",
    "trainer.optimizer.lr=2e-3",
)
AGAINST_PGD = (  # clean pictures first, then attacked ones alone
    "objective/terms=[pgd_values]",
    f"objective.terms.pgd_values.size={SIZE}",
    "objective.terms.pgd_values.steps=5",
    "++objective.terms.pgd_values.schedule={kind: warmup, steps: 400}",
    "++objective.terms.task.schedule={kind: decay, start: 0, steps: 400, final: 0}",
    "trainer.max_epochs=8",
)
WORDS = ("--kinds", "typos,synonyms", "--share", "0.15")
AGAINST_CHANGES = (
    "+dataset.augment.misspelt={kind: typos, share: 0.2}",
    "+dataset.augment.replaced={kind: synonyms, share: 0.2, least: 0.5}",
)
MAP_TERMS = {"none": (), "attention AT": ("attention_at",), "attention VAT": ("attention_vat",)}
COUNTED = ("dataset/vectors=counted", "dataset.vectors.dim=128")  # as wide as model=auto takes them
READ = (*COUNTED, "dataset.vectors.texts=['${paths.data}/eraser_movies/docs.zip/docs/*']")
FEW, GAIN = 100, 0.05  # labels, and accuracy that the other texts are to add
FEW_WAYS = {
    "labels alone": (),
    "mean teacher": ("objective/terms=[mean_teacher]",),
    "VAT": ("objective/terms=[vat]",),
    "word vectors counted in these and in reviews without labels": READ,
    "such vectors and a mean teacher": (*READ, "objective/terms=[mean_teacher]"),
}


def pictures(data: str, trained: Trained) -> Iterator[str]:
    """MNIST, trained for attacks along the gradient and not."""
    yield "| trained on | accuracy | under FGSM | under PGD | by as much at random | seconds |"
    yield "|---|---|---|---|---|---|"
    reached: dict[str, dict[str, Any]] = {}
    rows = {"pictures as they are": (), "pictures under PGD of 5 steps": AGAINST_PGD}
    for name, more in rows.items():
        for run in trained.runs(f"mnist-{'pgd' if more else 'plain'}", *PIXELS, *more, seeds=1):
            found = attacked(run, *PGD, "--examples", "1000")
            clean = run.figures()["answer"]["accuracy"]
            reached[name] = found | {"clean": clean}
            cells = [f"{clean:.4f}", *(interval(found[key]) for key in ("fgsm", "pgd"))]
            cells += [interval(found["random signs"]), seconds([run.figures()])]
            yield f"| {name} | {' | '.join(cells)} |"
    if len(reached) == len(rows):
        plain, hardened = reached.values()
        yield ""
        yield f"- PGD, trained for it, {verdict(0.9, hardened['pgd'][0])}."
        yield f"- PGD, not trained for it, at most {verdict(0.05, plain['pgd'][0], True)}."
        yield f"- Clean, trained for it, {verdict(0.985, hardened['clean'])}."


def texts(data: str, trained: Trained) -> Iterator[str]:
    """Verdicts on sentences, trained with changed words and not."""
    yield "| trained on | accuracy | typos turn | at random | synonyms turn | at random | seconds |"
    yield "|---|---|---|---|---|---|---|"
    turned: list[dict[str, float]] = []
    for name, more in {"texts as they are": (), "changed texts": AGAINST_CHANGES}.items():
        words = (*command(data, "sst2"), *COUNTED, *more)
        for run in trained.runs(f"sst2-words-{'changed' if more else 'plain'}", *words, seeds=1):
            found = attacked(run, *WORDS, "--examples", "300")
            clean = found["none"][0]
            keys = ("typos", "typos at random", "synonyms", "synonyms at random")
            turned.append({key: 1 - found[key][0] / clean for key in keys})
            turned[-1]["clean"] = accuracy = run.figures()["answer"]["accuracy"]
            cells = [f"{accuracy:.4f}", *(f"{turned[-1][key]:.3f}" for key in keys)]
            yield f"| {name} | {' | '.join(cells)} | {seconds([run.figures()])} |"
    if len(turned) == 2:
        plain, hardened = turned
        yield ""
        for kind in ("typos", "synonyms"):
            half = verdict(round(plain[kind] / 2, 3), hardened[kind], True)
            yield f"- {kind.capitalize()} turn half as many, at most {half}."
        clean = verdict(round(plain["clean"] - 0.01, 4), hardened["clean"])
        yield f"- Clean, within a point, {clean}."


def maps(data: str, trained: Trained) -> Iterator[str]:
    """Noise on the logits of the map while training: better answers, and maps that say more?"""
    yield "| data | term | accuracy | beside none | tau with gradients | seconds |"
    yield "|---|---|---|---|---|---|"
    for name in ("sst2", "atis_intents"):
        plain: list[Training] = []
        for title, terms in MAP_TERMS.items():
            words = (*command(data, name), f"objective/terms=[{','.join(terms)}]")
            runs = trained.runs(f"{name}-{title.replace(' ', '-')}", *words)
            plain = plain or runs
            if runs:
                cells = [str(over(runs, "accuracy")), beside(runs, plain), tau(runs)]
                yield f"| {name} | {title} | {' | '.join(cells)} | {seconds(figures(runs))} |"


def few(data: str, trained: Trained) -> Iterator[str]:
    """Labels of a hundred sentences, the other texts without theirs."""
    yield f"| {FEW} labels | accuracy | beside labels alone | seconds |"
    yield "|---|---|---|---|"
    folder = dict(label_files(data))["sst2"]
    share = (FEW + 0.5) / len(csv_rows(folder, "train"))
    alone: list[Training] = []
    best = 0.0
    pretrained = {
        "all-MiniLM-L6-v2 tuned whole": encoder("full"),
        "all-MiniLM-L6-v2 with its head tuned alone": encoder("head"),
    }
    for title, more in {**FEW_WAYS, **pretrained}.items():
        words = (*command(data, "sst2"), f"dataset.labelled={share:.6f}", *more)
        runs = trained.runs(f"sst2-{FEW}-{title.replace(' ', '-')}", *words)
        alone = alone or runs
        if runs:
            cells = [str(over(runs, "accuracy")), beside(runs, alone), seconds(figures(runs))]
            yield f"| {title} | {' | '.join(cells)} |"
            best = max(best, over(runs, "accuracy").mean)
    if alone:
        yield ""
        goal = round(over(alone, "accuracy").mean + GAIN, 4)
        yield f"The best, five points above labels alone, {verdict(goal, best)}."


def command(data: str, name: str) -> list[str]:
    """The command that is proposed for a set of labelled texts."""
    return overrides(inspect(dict(label_files(data))[name].resolve()), name)


def attnlab(*words: str) -> None:
    """A command as a user types it."""
    line = [sys.executable, "-m", "attnlab", *words]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(line)}\n{ended.stderr}")


def attacked(run: Training, *options: str) -> dict[str, list[float]]:
    """Accuracy with its interval under each attack, by its name."""
    path = run.folder / "attack.json"
    if not path.is_file():
        attnlab("attack", str(run.folder), *options)
    return {
        each["attack"] + (" at random" if each["level"] == "random" else ""): each["accuracy"]
        for each in json.loads(path.read_text())["attacks"]
    }


def interval(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"


def beside(runs: list[Training], plain: list[Training]) -> str:
    """How much better, example by example of the seeds that both have."""
    pairs = zip(runs, plain, strict=False)
    each = [
        [a - b for a, b in zip(one.each("accuracy"), other.each("accuracy"), strict=True)]
        for one, other in pairs
    ]
    means = [mean(values) for values in zip(*each, strict=True)]
    return "" if runs is plain else str(bootstrap(means))


def tau(runs: list[Training]) -> str:
    """Kendall's tau of the map with gradients times inputs, the mean over seeds."""
    found = []
    for run in runs:
        path = run.folder / "trust.json"
        if not path.is_file():
            attnlab(
                "explain", str(run.folder), "examples=100", "methods=[attention,gradient_input]"
            )
        tests = json.loads(path.read_text())["tests"]
        found += [each["value"] for each in tests if each["test"] == "tau with gradient x input"]
    return f"{mean(found):.3f}" if found else ""


BUSY = (
    "Other work ran on the same two cores: seconds are two to five times those of a quiet machine."
)
TABLES = Tables(
    "robust",
    {
        "pictures": (
            "Pictures under attack: MNIST",
            pictures,
            f"1,000 test pictures, no pixel changed by more than {SIZE}; PGD of 40 steps from five "
            "random starts. Two blocks of convolutions with 32 and 64 channels and additive "
            f"attention over their cells. {BUSY}",
        ),
        "texts": (
            "Texts under attack: SST-2",
            texts,
            "300 test sentences: the share of right answers that `attnlab attack` turns by "
            "changing 15 % of the words, those that matter most first, beside as many at random. "
            f"In training a fifth of the words is misspelt, and a fifth replaced. {BUSY}",
        ),
        "maps": (
            "Noise on the map's logits",
            maps,
            "`objective/terms=attention_at` and `attention_vat`, beside the same model without. "
            f"Kendall's tau of the map with gradient x input over 100 examples. {BUSY}",
        ),
        "few": (
            "A hundred labels: SST-2",
            few,
            "The other 6,820 sentences keep their texts; the checkpoint is chosen by 872 labelled "
            f"sentences. {BUSY}",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
