"""Marked stretches and scores along one axis: rationales, reading times, time alignments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from attnlab.data.target import AttentionTarget

Span = tuple[int, int]  # first unit, and the first one after it


def span_target(rows: Sequence[Sequence[Span] | None], keys: int) -> AttentionTarget:
    """One row of spans for each query; `[spans]` for a rationale. None is not annotated."""
    weights = np.zeros((len(rows), keys), np.float32)
    for row, spans in zip(weights, rows, strict=True):
        for start, stop in spans or ():
            if not 0 <= start < stop <= keys:
                raise ValueError(f"span {start}:{stop} is empty or outside of {keys} units")
            row[start:stop] = 1
    annotated = np.array([spans is not None for spans in rows])
    return AttentionTarget(weights, annotated, np.ones(keys, bool))


def score_target(scores: npt.ArrayLike) -> AttentionTarget:
    """One score for each unit, such as reading time; or annotators x units, then averaged.

    Each annotator's scores become shares first, so that slow readers do not count more.
    """
    apart = np.atleast_2d(np.asarray(scores, np.float32))  # annotators x units
    if (apart < 0).any() or not np.isfinite(apart).all():
        raise ValueError("scores have to be finite and not negative")
    total = apart.sum(1, keepdims=True)
    shares = np.divide(apart, total, out=np.zeros_like(apart), where=total > 0)
    read = total[:, 0] > 0
    mean = shares[read].mean(0, keepdims=True) if read.any() else np.zeros_like(shares[:1])
    return AttentionTarget(
        weights=mean,
        query_mask=np.array([bool(read.any())]),
        key_mask=np.ones(apart.shape[1], bool),
        kind="soft",
        annotators=tuple(row[None] for row in shares) if len(apart) > 1 else (),
    )
