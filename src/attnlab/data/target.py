"""`AttentionTarget`: where a model should attend, as a matrix of queries by keys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from attnlab.config.task import MapRows
from attnlab.data.groups import Groups

Weights: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Kind = Literal["hard", "soft", "sure_possible"]


@dataclass(frozen=True)
class AttentionTarget:
    """Gold attention. Every kind of annotation becomes this: links, spans, gaze, boxes, time."""

    weights: Weights  # queries x keys, >= 0; for sure_possible the sure links
    query_mask: Flags  # queries: rows that somebody annotated
    key_mask: Flags  # keys: columns that can be attended to
    kind: Kind = "hard"
    possible: Weights | None = None  # queries x keys, sure_possible only: sure and possible links
    annotators: tuple[Weights, ...] = field(default=())  # each queries x keys, where known apart
    weight: float = 1.0  # how much this example's target counts in the loss
    points: Weights | None = None  # queries x keys: fixation counts, where weights are blurred

    def __post_init__(self) -> None:
        queries, keys = self.weights.shape
        if self.query_mask.shape != (queries,) or self.key_mask.shape != (keys,):
            raise ValueError(
                f"masks of {self.query_mask.shape} and {self.key_mask.shape} "
                f"do not fit weights of {self.weights.shape}"
            )
        for matrix in (self.possible, self.points, *self.annotators):
            if matrix is not None and matrix.shape != self.weights.shape:
                raise ValueError(f"{matrix.shape} beside weights of {self.weights.shape}")
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

    def shuffled(self, random: np.random.Generator) -> AttentionTarget:
        """Wrong gold of the same shape and size, as a negative control for training.

        The visible keys change places, for all rows alike, so that each row keeps as many marks.
        """
        order = np.arange(len(self.key_mask))
        visible = np.flatnonzero(self.key_mask)
        order[visible] = random.permutation(visible)
        return replace(
            self,
            weights=self.weights[:, order],
            possible=None if self.possible is None else self.possible[:, order],
            annotators=tuple(matrix[:, order] for matrix in self.annotators),
            points=None if self.points is None else self.points[:, order],
        )

    def soft(self) -> AttentionTarget:
        """The same gold as a distribution, so that regrouping keeps mass instead of marks."""
        weights = self.distribution()
        return replace(self, weights=weights, kind="soft", possible=None)

    def regroup_keys(self, groups: Groups) -> AttentionTarget:
        """The same gold over other keys: words as pieces, pixels as patches, samples as frames.

        Marks (hard, sure and possible links) pass to every unit that holds a part of a marked one;
        soft weights and fixation points are shared out, so that their mass stays what it was.
        """

        def carry(matrix: Weights) -> Weights:
            return groups.share(matrix, 1) if self.kind == "soft" else groups.any(matrix, 1)

        return replace(
            self,
            weights=carry(self.weights),
            key_mask=groups.any(self.key_mask, 0),
            possible=None if self.possible is None else groups.any(self.possible, 1),
            annotators=tuple(carry(matrix) for matrix in self.annotators),
            points=None if self.points is None else groups.share(self.points, 1),
        )

    def regroup_queries(self, groups: Groups) -> AttentionTarget:
        """The same gold over other queries, where only annotated rows count.

        A row made of several has all their marks, or, if soft, their mean; a row made of nothing
        (a begin or end mark) is not annotated.
        """
        annotated = self.query_mask[:, None]  # queries x 1

        def carry(matrix: Weights) -> Weights:
            if self.kind == "soft":
                return groups.mean(matrix, 0, self.query_mask)
            return groups.any(matrix * annotated, 0)

        return replace(
            self,
            weights=carry(self.weights),
            query_mask=groups.any(self.query_mask, 0),
            possible=None if self.possible is None else groups.any(self.possible * annotated, 0),
            annotators=tuple(carry(matrix) for matrix in self.annotators),
            points=None if self.points is None else groups.mean(self.points, 0, self.query_mask),
        )


@dataclass(frozen=True)
class MapLayout:
    """How many input units share one attention key, and what a row of a map belongs to.

    A gold map counts words, pixels or frames of sound. A model may attend to patches of several
    pixels or steps of several frames, and answer after several hops: gold is regrouped to that.
    """

    patch: tuple[int, int] = (1, 1)  # pixels of a key: height and width
    stride: int = 1  # frames of a key
    rows: MapRows = "answer"  # what a row belongs to
    hops: int = 1  # rows of an answer that is given as a whole

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches in a picture; the last ones may be cut off by its edge."""
        return -(-height // self.patch[0]), -(-width // self.patch[1])


IDENTITY = MapLayout()  # keys and rows are the units of the data


@lru_cache(maxsize=1024)
def picture_groups(height: int, width: int, patch: tuple[int, int]) -> Groups:
    """Pixels to patches."""
    return Groups.of_patches(height, width, patch)


@lru_cache(maxsize=4096)
def sound_groups(frames: int, stride: int) -> Groups:
    """Frames to steps."""
    return Groups.of_frames(frames, stride, stride)


def at_groups(target: AttentionTarget, groups: Groups) -> AttentionTarget:
    """Gold over the model's keys; as it was where they are the units of the data."""
    return target if len(groups) == groups.old else target.regroup_keys(groups)


@lru_cache(maxsize=1024)
def hop_groups(rows: int, hops: int) -> Groups:
    """Rows of gold, in the order in which they are needed, to hops.

    With fewer rows than hops the last hop stays where it was; with more it takes in the rest.
    """
    single = [(min(hop, rows - 1),) for hop in range(hops - 1)]
    return Groups(rows, (*single, tuple(range(min(hops, rows) - 1, rows))))


def at_hops(target: AttentionTarget, hops: int) -> AttentionTarget:
    """Gold of one answer, however many units it has, with a row for each hop."""
    rows = len(target.query_mask)
    return target if rows == hops else target.regroup_queries(hop_groups(rows, hops))


def first_rows(target: AttentionTarget, rows: int) -> AttentionTarget:
    """Gold of the first rows only."""
    if len(target.query_mask) <= rows:
        return target
    return replace(
        target,
        weights=target.weights[:rows],
        query_mask=target.query_mask[:rows],
        possible=None if target.possible is None else target.possible[:rows],
        annotators=tuple(matrix[:rows] for matrix in target.annotators),
        points=None if target.points is None else target.points[:rows],
    )
