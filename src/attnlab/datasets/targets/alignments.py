"""Word alignments as targets: Pharaoh lines with sure and possible links, two directions as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attnlab.data.target import AttentionTarget, Weights

LINK = re.compile(r"(\d+)([-p?])(\d+)")


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
    """The links as a map. A decoder's words (queries) look at the source's: `keys="source"`.

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
    growing, found = _Growing(forward & backward), forward | backward
    before = -1
    while before < len(growing.links):
        before = len(growing.links)
        for source, target in sorted(growing.links):
            for down, right in NEIGHBOURS:
                link = source + down, target + right
                if link in found and link not in growing.links and not growing.both(link):
                    growing.add(link)
    return growing
