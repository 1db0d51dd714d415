"""Real data beyond text: recommendation and speech, each beside its controls.

    python -m benchmarks.beyond --data ../shared/data                # all; what ran is picked up
    python -m benchmarks.beyond --data ../shared/data ml_100k fsdd   # some

The runs are kept in runs/benchmarks/beyond. `--threads` is of each training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from attnlab.config.compose import load
from attnlab.data.batch import pad
from attnlab.data.inputs import Sound
from attnlab.data.prepared import Prepared
from attnlab.data.source import Split
from attnlab.metrics.item_controls import ItemControl, ItemNeighbours, Markov, Popularity
from attnlab.metrics.recommendation import Recommendation
from attnlab.models.sound import LogMel
from attnlab.stages.prepare import prepared_data
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, train_all

COMMAND = "python -m benchmarks.beyond --data ../shared/data"
Trained = Callable[..., Sequence[dict[str, Any]]]  # (name, overrides, seeds) -> their figures


def trained(
    data: str, threads: int, most: int, name: str, *overrides: str, seeds: int = 3
) -> Sequence[dict[str, Any]]:
    """The figures of `experiment=...` with these overrides, one for each seed."""
    words = (*overrides, f"paths.data={data}")
    runs = [
        Training(RUNS / "beyond" / name / str(seed), (*words, f"seed={seed}"))
        for seed in range(min(seeds, most))
    ]
    train_all(runs, at_once=1, threads=threads)
    return [run.figures() for run in runs]


def prepared(data: str, *overrides: str) -> Prepared:
    return prepared_data(load([*overrides, f"paths.data={data}"])[0])


def values(runs: Sequence[dict[str, Any]], *path: str, form: str = ".4f") -> str:
    """The mean of a figure over runs, and each where there are several."""
    found: list[Any] = list(runs)
    for key in path:
        found = [each[key] for each in found]
    if len(found) == 1:
        return format(found[0], form)
    return f"{mean(found):{form}} ({', '.join(format(each, form) for each in found)})"


def recommendation(data: str, trained: Trained) -> Iterator[str]:
    """Next film: every control in the same protocol, on the same candidates."""
    rows = {
        "Transformer (as SASRec)": trained("ml_100k", "experiment=ml_100k"),
        "recurrent, additive (as NARM)": trained(
            "ml_100k_recurrent", "experiment=ml_100k_recurrent"
        ),
    }
    yield "| recommender | HR@10 | NDCG@10 | MRR | seconds |"
    yield "|---|---|---|---|---|"
    for name, figures in item_controls(prepared(data, "experiment=ml_100k")).items():
        yield f"| {name} | {' | '.join(f'{each:.4f}' for each in figures)} | |"
    for name, runs in rows.items():
        figures = [values(runs, "answer", figure) for figure in ("hr@10", "ndcg@10", "mrr")]
        seconds = values(runs, "cost", "train_seconds", form=".0f")
        yield f"| {name} | {' | '.join(figures)} | {seconds} |"


def item_controls(films: Prepared) -> dict[str, list[float]]:
    """HR@10, NDCG@10 and MRR of recommenders without a model; they know all but the test item."""
    vocabulary = films.codec.texts["items"]
    examples = list(films.examples("test"))
    histories = [vocabulary.encode(each.inputs["items"]) for each in examples]  # type: ignore[arg-type]
    answers = torch.tensor([vocabulary.encode([str(each.answer)])[0] for each in examples])
    size = len(vocabulary)
    controls: dict[str, ItemControl] = {
        "popularity": Popularity(histories, size),
        "Markov, first order": Markov(histories, size),
        "item-kNN, 20 neighbours": ItemNeighbours(histories, size, 20),
        "item-kNN, 20 neighbours, last 10 items": ItemNeighbours(histories, size, 20, 10),
        "item-kNN, all neighbours, last 10 items": ItemNeighbours(histories, size, size, 10),
    }
    return {name: _ranked(control, histories, answers) for name, control in controls.items()}


def _ranked(control: ItemControl, histories: list[list[int]], answers: torch.Tensor) -> list[float]:
    scores = np.stack([control.scores(history) for history in histories])
    scores[:, :4] = -np.inf  # no items but marks
    for row, history in enumerate(histories):
        scores[row, history] = -np.inf
    metric = Recommendation((10,))
    metric.update(torch.from_numpy(scores), answers)
    found = metric.compute()
    return [found[name] for name in ("hr@10", "ndcg@10", "mrr")]


def speech(data: str, trained: Trained) -> Iterator[str]:
    """Spoken digits on the official test part."""
    rows = {
        "LSTM and attention": trained("fsdd", "experiment=fsdd"),
        "the same, mean in place of attention": trained(
            "fsdd_mean", "experiment=fsdd", "attention=uniform"
        ),
    }
    yield "| model | accuracy (target 0.985) | seconds |"
    yield "|---|---|---|"
    control = log_mel_regression(prepared(data, "experiment=fsdd"))
    yield f"| log-mel in 16 steps, logistic regression | {control:.4f} | |"
    for name, runs in rows.items():
        seconds = values(runs, "cost", "train_seconds", form=".0f")
        yield f"| {name} | {values(runs, 'answer', 'accuracy')} | {seconds} |"


def log_mel_regression(sounds: Prepared) -> float:
    """Accuracy of what needs no network: the mean spectrum of 16 stretches of equal length."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = sounds.codec.inputs["audio"]
    assert isinstance(found, Sound)
    audio = load(["experiment=fsdd"])[0].model.audio
    front: LogMel = audio.build(found, 8)

    def features(split: Split) -> tuple[np.ndarray, list[str]]:
        examples = list(sounds.examples(split))
        spectra = [
            front.spectrum(pad([found.encode(each.inputs["audio"])]).values)[0].numpy()
            for each in examples
        ]
        steps = [np.array_split(s, 16) if len(s) >= 16 else s[:16, None] for s in spectra]
        rows = [np.stack([step.mean(0) for step in each]).ravel() for each in steps]
        return np.stack(rows), [str(each.answer) for each in examples]

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    parts = [features(split) for split in ("train", "val")]
    model.fit(np.concatenate([p[0] for p in parts]), [label for p in parts for label in p[1]])
    return float(model.score(*features("test")))


TABLES: dict[str, tuple[str, Callable[[str, Trained], Iterator[str]], str]] = {
    "ml_100k": (
        "Recommendation: MovieLens 100K",
        recommendation,
        "Each user's last film among all 1,682, given all before it; films of the history are left "
        "out of every ranking.",
    ),
    "fsdd": ("Speech: spoken digits", speech, "Official test part: takes 0 to 4."),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Real data beyond text, beside controls.")
    parser.add_argument("names", nargs="*", choices=[*TABLES, []])
    parser.add_argument("--data", default="../shared/data", help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each training at most")
    parser.add_argument("--threads", type=int, default=2, help="of each training")
    given = parser.parse_args()
    data = str(Path(given.data).resolve())
    for name in given.names or TABLES:
        title, table, note = TABLES[name]
        lines = list(table(data, partial(trained, data, given.threads, given.seeds)))
        threads = f" Seeds from 0: mean (each). Threads of a training: {given.threads}."
        record(f"beyond-{name}", title, f"{COMMAND} {name}", lines, note=note + threads)


if __name__ == "__main__":
    main()
