"""`MapLayout`: how many input units share one attention key, and gold maps regrouped to that.

A gold map counts words, pixels or frames of sound. A model may attend to cells of several pixels
or steps of several frames: its layout says which of the one make one of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget


@dataclass(frozen=True)
class MapLayout:
    """How many units of the data, each way, make one that the model attends to."""

    patch: tuple[int, int] = (1, 1)  # pixels of a cell: height and width
    stride: int = 1  # frames of a step
    hops: int = 1  # looks, one after the other, before a label is given
    whole: bool = False  # an answer in units is chosen as one, so that its looks are a label's
    # labels that are learned apart and said as another, or never
    counts_as: Mapping[str, str | None] = field(default_factory=dict)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of cells in a picture; the last ones may be cut off by its edge."""
        return -(-height // self.patch[0]), -(-width // self.patch[1])


OWN = MapLayout()  # that of the data themselves


@lru_cache(maxsize=1024)
def picture_groups(height: int, width: int, patch: tuple[int, int]) -> Groups:
    """Pixels to cells."""
    return Groups.of_patches(height, width, patch)


@lru_cache(maxsize=4096)
def sound_groups(frames: int, stride: int) -> Groups:
    """Frames to steps."""
    return Groups.of_frames(frames, stride, stride)


def at_groups(target: AttentionTarget, groups: Groups) -> AttentionTarget:
    """Gold over the model's units; as it was where they are those of the data."""
    return target if len(groups) == groups.old else target.regroup_keys(groups)


@lru_cache(maxsize=1024)
def hop_groups(rows: int, hops: int) -> Groups:
    """Rows of gold, in the order in which they are needed, to looks.

    With fewer rows than looks the last look stays where it was; with more it takes in the rest.
    """
    looks = [(min(hop, rows - 1),) for hop in range(hops - 1)]
    return Groups(rows, (*looks, tuple(range(min(hops, rows) - 1, rows))))


def at_hops(target: AttentionTarget, hops: int) -> AttentionTarget:
    """Gold of one answer, however many units it has, with a row for each look."""
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
