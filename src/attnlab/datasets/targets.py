"""Gold maps of annotations: word alignments, spans of text and time, boxes, masks, fixations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from attnlab.data.target import AttentionTarget, Weights

LINK = re.compile(r"(\d+)([-p?])(\d+)")

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
Grid = npt.NDArray[np.float32]  # height x width
Kernel = npt.NDArray[np.float64]  # size x size

Span = tuple[int, int]  # first unit, and the first one after it


@dataclass(frozen=True)
class GoldLinks:
    """Pairs (source, target), counted from 0."""

    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]  # the sure ones too


def parse_pharaoh(line: str, index_base: Literal[0, 1]) -> GoldLinks:
    """`0-0 1-2` are sure links, `3p2` and `3?2` possible ones; source first.

    Where the counting begins cannot be seen in most lines, and guessing it wrong shifts every
    link: it has to be said.
    """
    sure, all_links = set(), set()
    for word in line.split():
        match = LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"'{word}' is not a link such as 0-1 (sure) or 0p1 (possible)")
        link = int(match[1]) - index_base, int(match[3]) - index_base
        if min(link) < 0:
            raise ValueError(f"'{word}' counts from 0, not from 1")
        all_links.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(all_links))


def alignment_target(
    links: GoldLinks, sources: int, targets: int, keys: Literal["source", "target"]
) -> AttentionTarget:
    """The links as a map. A decoder's words (queries) attend to the source's: `keys="source"`.

    Every row is annotated: a word without a link is one that gold leaves unaligned.
    """
    sure = _matrix(links.sure, sources, targets)
    possible = _matrix(links.possible, sources, targets)
    if keys == "source":
        sure, possible = sure.T, possible.T
    return AttentionTarget(
        weights=sure,
        query_mask=np.ones(sure.shape[0], bool),
        key_mask=np.ones(sure.shape[1], bool),
        kind="sure_possible",
        possible=possible,
    )


def _matrix(links: frozenset[tuple[int, int]], sources: int, targets: int) -> Weights:
    matrix = np.zeros((sources, targets), np.float32)
    for source, target in links:
        if source >= sources or target >= targets:
            raise ValueError(f"link {source}-{target} is outside of {sources} x {targets} words")
        matrix[source, target] = 1
    return matrix


Link = tuple[int, int]  # source word, target word
Links = frozenset[Link]
Heuristic = Literal["intersection", "union", "grow-diag", "grow-diag-final-and"]

# In this order, that of Moses: what is added first can stand in the way of what comes later.
NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def intersection(forward: Links, backward: Links) -> Links:
    """The links that both have."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """The links that any has."""
    return forward | backward


def grow_diag(forward: Links, backward: Links) -> Links:
    """The common links, and what stands next to one and gives a word its first link."""
    return frozenset(_grown(forward, backward).links)


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    """The same, then every link between two words that have none."""
    grown = _grown(forward, backward)
    for link in (*sorted(forward), *sorted(backward)):
        if grown.neither(link):
            grown.add(link)
    return frozenset(grown.links)


HEURISTICS: dict[Heuristic, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag": grow_diag,
    "grow-diag-final-and": grow_diag_final_and,
}


def pharaoh(links: Iterable[Link]) -> str:
    """One line: `0-0 1-2`, in order."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


class _Growing:
    """Links, and the words that have one."""

    def __init__(self, links: Links) -> None:
        self.links = set(links)
        self.sources = {source for source, _ in links}
        self.targets = {target for _, target in links}

    def add(self, link: Link) -> None:
        self.links.add(link)
        self.sources.add(link[0])
        self.targets.add(link[1])

    def neither(self, link: Link) -> bool:
        """Neither of its words has a link."""
        return link[0] not in self.sources and link[1] not in self.targets

    def both(self, link: Link) -> bool:
        """Both of its words have a link."""
        return link[0] in self.sources and link[1] in self.targets


def _grown(forward: Links, backward: Links) -> _Growing:
    growing, union = _Growing(forward & backward), forward | backward
    before = -1
    while before < len(growing.links):
        before = len(growing.links)
        for source, target in sorted(growing.links):
            for down, right in NEIGHBOURS:
                link = source + down, target + right
                if link in union and link not in growing.links and not growing.both(link):
                    growing.add(link)
    return growing


def box_target(rows: Sequence[Sequence[Box] | None], height: int, width: int) -> AttentionTarget:
    """The pixels whose middle lies in a box, one row of boxes for each query."""
    across, down = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    grids = []
    for boxes in rows:
        inside = np.zeros((height, width), bool)
        for left, top, right, bottom in boxes or ():
            inside |= (left <= across) & (across < right) & (top <= down) & (down < bottom)
        grids.append(inside)
    return _image_target(np.stack(grids), np.array([boxes is not None for boxes in rows]))


def mask_target(masks: npt.NDArray[np.bool_]) -> AttentionTarget:
    """Marked pixels: queries x height x width."""
    return _image_target(masks, np.ones(len(masks), bool))


def fixation_target(
    observers: Sequence[npt.ArrayLike], height: int, width: int, sigma: float
) -> AttentionTarget:
    """Fixations (n x 2: x, y in pixels of this grid) of each observer, blurred to a map.

    The points themselves are kept in `points`, because NSS and AUC-Judd need them; each
    observer's own map in `annotators`. Fixations beyond the image are left out.
    """
    counts = np.stack([count_points(points, height, width) for points in observers])
    kernels = gaussian(height, sigma), gaussian(width, sigma)
    blurred = np.stack([_blur(grid, *kernels) for grid in counts])  # observers x height x width
    together = blurred.sum(0).reshape(1, -1)
    annotated_rows = np.array([bool(counts.any())])
    return AttentionTarget(
        weights=together / max(float(together.sum()), 1e-12),
        query_mask=annotated_rows,
        key_mask=np.ones(height * width, bool),
        kind="soft",
        annotators=tuple(grid.reshape(1, -1) for grid in blurred),
        points=counts.sum(0).reshape(1, -1),
    )


def count_points(points: npt.ArrayLike, height: int, width: int) -> Grid:
    """How many points fall into each pixel: height x width."""
    pixels = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(1)
    grid = np.zeros((height, width), np.float32)
    np.add.at(grid, (pixels[inside, 1], pixels[inside, 0]), 1)
    return grid


def gaussian(size: int, sigma: float) -> Kernel:
    """Blur along one axis as a matrix (size x size); mass that would leave the edge is lost."""
    reach = np.arange(size)[:, None] - np.arange(size)
    longest = np.arange(-4 * size, 4 * size + 1)
    whole = np.exp(-(longest**2) / (2 * sigma**2)).sum()
    return np.exp(-(reach**2) / (2 * sigma**2)) / whole


def _blur(grid: Grid, down: Kernel, across: Kernel) -> Grid:
    return (down @ grid @ across).astype(np.float32)


def _image_target(
    grids: npt.NDArray[np.bool_], annotated: npt.NDArray[np.bool_]
) -> AttentionTarget:
    weights: Weights = grids.reshape(len(grids), -1).astype(np.float32)  # queries x pixels
    return AttentionTarget(weights, annotated, np.ones(weights.shape[1], bool))


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


def together(apart: Sequence[AttentionTarget]) -> AttentionTarget:
    """What several annotators mark of one example, as the mean of their marks; each is kept.

    A row counts where one of them marks something.
    """
    marks = [each.weights for each in apart]
    return AttentionTarget(
        weights=np.stack(marks).mean(0, dtype=np.float32),
        query_mask=np.any([each.query_mask for each in apart], 0),
        key_mask=apart[0].key_mask,
        kind="soft",
        annotators=tuple(marks) if len(marks) > 1 else (),
    )


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
