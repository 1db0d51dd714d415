"""`MapLayout`: how many input units share one attention key, and what a row of a map belongs to.

A gold map counts words, pixels or frames of sound. A model may attend to patches of several pixels
or steps of several frames, and answer after several hops: gold maps are regrouped to that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from attnlab.config.task import MapRows
from attnlab.data.groups import Groups
from attnlab.data.target import AttentionTarget


@dataclass(frozen=True)
class MapLayout:
    """How the units of the data become the keys and rows of a model's maps."""

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
