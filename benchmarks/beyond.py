"""Recommendation on real data, beside its controls.

    python -m benchmarks.beyond --data ../shared/data    # what ran is picked up

The runs are kept in runs/benchmarks/beyond. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from attnlab.data.prepared import Prepared
from attnlab.metrics.item_controls import ItemControl, ItemNeighbours, Markov, Popularity
from attnlab.metrics.recommendation import Recommendation
from benchmarks.tables import Tables, Trained, prepared, seconds, values


def recommendation(data: str, trained: Trained) -> Iterator[str]:
    """Next film: every control in the same protocol, on the same candidates."""
    rows = {
        "Transformer (as SASRec)": trained("ml_100k", "experiment=ml_100k"),
        "recurrent, additive (as NARM)": trained(
            "ml_100k_recurrent", "experiment=ml_100k_recurrent"
        ),
        "Transformer, hidden items (as BERT4Rec)": trained(
            "ml_100k_hidden", "experiment=ml_100k_hidden"
        ),
    }
    yield "| recommender | HR@10 | NDCG@10 | MRR | seconds |"
    yield "|---|---|---|---|---|"
    for name, figures in item_controls(prepared(data, "experiment=ml_100k")).items():
        yield f"| {name} | {' | '.join(f'{each:.4f}' for each in figures)} | |"
    for name, runs in rows.items():
        figures = [values(runs, "answer", figure) for figure in ("hr@10", "ndcg@10", "mrr")]
        yield f"| {name} | {' | '.join(figures)} | {seconds(runs)} |"


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


TABLES = Tables(
    "beyond",
    {
        "ml_100k": (
            "Recommendation: MovieLens 100K",
            recommendation,
            "Each user's last film among all 1,682, given all before it; films of the history are "
            "left out of every ranking.",
        ),
    },
)


if __name__ == "__main__":
    TABLES.main()
