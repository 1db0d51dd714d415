"""Random maps with targets, ragged and padded, for the tests of metrics and losses."""

from __future__ import annotations

import numpy as np
import torch

from attnlab.data.target import AttentionTarget
from attnlab.data.target_batch import TargetBatch, collate_targets

QUERIES, KEYS = 5, 9


def random_target(random: np.random.Generator, kind: str = "hard", ties: bool = False):
    """A target with unannotated rows and hidden keys, at least one mark in each annotated row."""
    queries, keys = int(random.integers(1, QUERIES + 1)), int(random.integers(3, KEYS + 1))
    key_mask = np.ones(keys, bool)
    key_mask[int(random.integers(keys))] = False
    marks = random.random((queries, keys)) < 0.3
    visible = np.flatnonzero(key_mask)
    marks[np.arange(queries), random.choice(visible, queries)] = True
    marks[:, visible[0]] = marks.sum(1) < 2  # never are all keys marked
    marks[:, visible[-1]] |= ~(marks & key_mask).any(1)
    query_mask = random.random(queries) < 0.8
    query_mask[0] = True
    weights = marks.astype(np.float32)
    if kind == "soft":
        weights *= random.random((queries, keys), np.float32) + 0.1
    possible = np.maximum(weights, random.random((queries, keys)) < 0.2).astype(np.float32)
    return AttentionTarget(
        weights=weights * key_mask,
        query_mask=query_mask,
        key_mask=key_mask,
        kind=kind,  # type: ignore[arg-type]
        possible=possible * key_mask if kind == "sure_possible" else None,
    )


def random_batch(seed: int, kind: str = "hard", examples: int = 6) -> TargetBatch:
    random = np.random.default_rng(seed)
    return collate_targets([random_target(random, kind) for _ in range(examples)], QUERIES, KEYS)


def random_maps(seed: int, target: TargetBatch, ties: bool = False) -> torch.Tensor:
    """Distributions over the keys of the padding too (a model may waste mass), with or without
    ties: batch x queries x keys."""
    random = np.random.default_rng(seed)
    raw = random.random(target.weights.shape)
    raw = (np.floor(raw * 4) + 1) / 5 if ties else raw
    return torch.from_numpy(raw / raw.sum(-1, keepdims=True) if not ties else raw)


def rows_of(weights: torch.Tensor, target: TargetBatch):
    """Each annotated row as plain arrays over its visible keys: weights, gold, marks."""
    marks = target.marks()
    for i, j in target.rows().nonzero().tolist():
        keep = target.key_mask[i].numpy()
        yield (
            weights[i, j].double().numpy()[keep],
            target.weights[i, j].double().numpy()[keep],
            marks[i, j].numpy()[keep],
        )
