"""What models say of training examples that they did not see: answers, losses and maps by fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from attnlab.config.schema import Config
from attnlab.data.batch import collate
from attnlab.data.codec import Map
from attnlab.data.prepared import Prepared
from attnlab.data.supervision import Chosen, permuted
from attnlab.data.target_batch import TargetBatch
from attnlab.explain.acquisition import states
from attnlab.metrics.label_quality import outlier_scores
from attnlab.training.learner import Learner


@dataclass(frozen=True)
class HeldOut:
    """What a model that was trained on other examples makes of one."""

    position: int  # in the training split
    id: str
    loss: float  # per unit of its answer
    prediction: str
    label: int | None  # the number of its label, where answers are labels
    probabilities: list[float]  # of all labels
    map_loss: float  # cross-entropy of its gold map, mean over annotated rows; NaN without gold
    others: float  # the same of the gold map of another example
    agreement: float  # of the model's map with its gold map, from 0 to 1
    map: Map  # of the model: rows x keys
    outlier_score: float  # distance of its states to the nearest others; 1 is usual


def folds(count: int, parts: int, seed: int) -> list[list[int]]:
    """Positions in a split, dealt into parts at random."""
    order = np.random.default_rng(seed).permutation(count)
    return [sorted(order[part::parts].tolist()) for part in range(parts)]


@torch.no_grad()
def inspect(
    learner: Learner, prepared: Prepared, config: Config, positions: Sequence[int]
) -> list[HeldOut]:
    """What a model makes of the examples at these positions, which it was trained without."""
    whole, codec = prepared.examples("train"), prepared.codec
    records: list[partial[HeldOut]] = []  # but for what needs the states of all
    vectors: list[Tensor] = []
    examples, strangers = Chosen(whole, positions), Chosen(permuted(whole), positions)
    task, model, size = learner.task, learner.model, config.trainer.batches.eval_size
    for start in range(0, len(positions), size):
        some = examples[start : start + size]
        items = [codec.encode(each, start + i) for i, each in enumerate(some)]
        batch = collate(items).to(learner.device)
        other = collate([codec.encode(each, 0) for each in strangers[start : start + size]])
        with task.tap(model) as tap:
            scores = task.run(model, batch)
        vectors.append(states(model, batch).float().cpu())
        maps = task.as_gold(tap.log_weights().exp().mean(1), scores, batch)
        over_words, gold = batch.over_words(maps).cpu(), batch.target_over_words.to("cpu")
        own, agreed = cross_entropy(over_words, gold), agreement(over_words, gold)
        others = cross_entropy(over_words, other.target_over_words)
        sums, counts = task.losses(scores, batch)
        texts = task.texts(task.answer(model, batch), batch)
        graded = task.graded(scores, batch)
        one_label = graded is not None and graded[1].shape[1] == 1
        for i, example in enumerate(some):
            labels, chances = None, []
            if graded is not None and one_label:
                labels = int(graded[1][i, 0])
                chances = graded[0][i, 0].float().softmax(-1).tolist()
            records.append(
                partial(
                    HeldOut,
                    positions[start + i],
                    example.id,
                    float(sums[i] / counts[i].clamp_min(1)),
                    texts[i],
                    labels,
                    chances,
                    float(own[i]),
                    float(others[i]),
                    float(agreed[i]),
                    maps[i].float().cpu().numpy(),
                )
            )
    scores_of = outlier_scores(torch.cat(vectors).numpy()) if vectors else []
    return [
        record(outlier_score=float(score)) for record, score in zip(records, scores_of, strict=True)
    ]


def agreement(weights: Tensor, gold: TargetBatch) -> Tensor:
    """The overlap of maps with gold, mean over annotated rows: batch, NaN without gold.

    Of marked keys it is the weight on them; of soft gold, one less the total variation.
    """
    marked = gold.marks()
    level = gold.weights.amax(-1, keepdim=True)
    soft = ((gold.weights > 0) & (gold.weights < level)).any(-1)  # batch x queries
    on_marks = (weights * marked).sum(-1)
    overlap = torch.minimum(weights, gold.distribution()).sum(-1)
    return _over_rows(torch.where(soft, overlap, on_marks), gold)


def cross_entropy(weights: Tensor, gold: TargetBatch) -> Tensor:
    """Of gold maps under the model's, mean over annotated rows: batch, NaN without gold."""
    losses = -(gold.distribution() * weights.clamp_min(1e-8).log()).sum(-1)
    return _over_rows(losses, gold)


def _over_rows(values: Tensor, gold: TargetBatch) -> Tensor:
    rows = gold.rows()
    return (values * rows).sum(-1) / torch.where(rows.any(-1), rows.sum(-1), torch.nan)
