"""`AttentionTarget`: where a model should look, as a matrix of queries by keys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Weights: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Kind = Literal["hard", "soft", "sure_possible"]


@dataclass(frozen=True)
class AttentionTarget:
    """Gold attention. Every kind of annotation becomes this: links, spans, gaze, boxes, time."""

    weights: Weights  # queries x keys, >= 0; for sure_possible the sure links
    query_mask: Flags  # queries: rows that somebody annotated
    key_mask: Flags  # keys: columns that can be looked at
    kind: Kind = "hard"
    possible: Weights | None = None  # queries x keys, sure_possible only: sure and possible links
    annotators: tuple[Weights, ...] = field(default=())  # each queries x keys, where known apart
    weight: float = 1.0  # how much this example's target counts in the loss

    def __post_init__(self) -> None:
        queries, keys = self.weights.shape
        if self.query_mask.shape != (queries,) or self.key_mask.shape != (keys,):
            raise ValueError(
                f"masks of {self.query_mask.shape} and {self.key_mask.shape} "
                f"do not fit weights of {self.weights.shape}"
            )
        if (self.kind == "sure_possible") != (self.possible is not None):
            raise ValueError("possible links belong to kind 'sure_possible', and to it alone")

    def distribution(self) -> Weights:
        """Rows that sum to one over the keys, or are zero where nothing is marked."""
        kept = self.weights * self.key_mask  # queries x keys
        total = kept.sum(axis=1, keepdims=True)
        return np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)

    def without(self) -> AttentionTarget:
        """The same shape with no row annotated: what is left when a target is withheld."""
        return replace(self, query_mask=np.zeros_like(self.query_mask))
