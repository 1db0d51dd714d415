"""Recommendation on real data, beside its controls.

    python -m benchmarks.beyond --data ../shared/data    # what ran is picked up

The runs are kept in runs/benchmarks/beyond. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

import numpy as np
import torch

from attnlab.data.batch import pad
from attnlab.data.example import Split
from attnlab.data.prepared import Prepared
from attnlab.metrics.recommendation import ItemNeighbours, Recommendation, SampledRecommendation
from attnlab.tasks.rank.task import candidates
from benchmarks.runs import verdict
from benchmarks.tables import Tables, Trained, prepared, seconds, values

SYSTEMS = {
    "Transformer (as SASRec)": "ml_100k",
    "Transformer, hidden items (as BERT4Rec)": "ml_100k_hidden",
    "recurrent, additive (as NARM)": "ml_100k_recurrent",
}
FIGURES = ("hr@10", "ndcg@10", "mrr", "sampled_hr@10", "sampled_ndcg@10")


def recommendation(data: str, trained: Trained) -> Iterator[str]:
    """Next film: every control in the same protocol, on the same candidates."""
    made = {title: trained(name, f"experiment={name}") for title, name in SYSTEMS.items()}
    rows = {title: runs for title, runs in made.items() if runs}
    title, first = next(iter(rows.items()))
    known = first[0]["answer_controls"] | neighbours(prepared(data, "experiment=ml_100k"))
    yield "| recommender | HR@10 | NDCG@10 | MRR | HR@10 of 101 | NDCG@10 of 101 | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in known.items():
        yield f"| ({name}) | {' | '.join(f'{found[each]:.4f}' for each in FIGURES)} | |"
    for name, runs in rows.items():
        figures = [values(runs, "answer", figure) for figure in FIGURES]
        yield f"| {name} | {' | '.join(figures)} | {seconds(runs)} |"
    yield ""
    for figure in FIGURES[:2]:
        best = max(found[figure] for found in known.values())
        reached = verdict(best, mean(run["answer"][figure] for run in first))
        yield f"{figure} of {title}, beside the best control, {reached}."


def neighbours(films: Prepared) -> dict[str, dict[str, float]]:
    """Recommenders by likeness, which know the training part as models do."""
    vocabulary = films.codec.texts["items"]

    def histories(split: Split) -> tuple[list[list[int]], list[int]]:
        examples = list(films.examples(split))
        before = [vocabulary.encode(each.inputs["items"]) for each in examples]  # type: ignore[arg-type]
        return before, vocabulary.encode(str(each.answer) for each in examples)

    known = [[*before, answer] for before, answer in zip(*histories("train"), strict=True)]
    size = len(vocabulary)
    controls = {
        "item-kNN, 20 neighbours": ItemNeighbours(known, size, 20),
        "item-kNN, 20 neighbours, last 10 items": ItemNeighbours(known, size, 20, 10),
        "item-kNN, all neighbours, last 10 items": ItemNeighbours(known, size, size, 10),
    }
    queried = histories("test")
    return {name: _figures(control, *queried) for name, control in controls.items()}


def _figures(
    control: ItemNeighbours, queried: list[list[int]], right: list[int]
) -> dict[str, float]:
    scores = torch.from_numpy(np.stack([control.scores(history) for history in queried]))
    scores = candidates(scores, pad([torch.tensor(each) for each in queried]), repeats=False)
    figures: dict[str, float] = {}
    for metric in (Recommendation((10,)), SampledRecommendation(10)):
        metric.update(scores, torch.tensor(right))
        figures |= metric.compute()
    return figures


TABLES = Tables(
    "beyond",
    {
        "ml_100k": (
            "Recommendation: MovieLens 100K",
            recommendation,
            "Each user's last film among all 1,682, given all before it; films of the history are "
            "left out of every ranking, and of the loss. Controls are made of the training part, "
            "as models are; figures of 101 are among the right film and 100 that are drawn.",
        ),
    },
)


if __name__ == "__main__":
    TABLES.main()
