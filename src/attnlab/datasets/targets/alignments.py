"""Word alignments as targets: Pharaoh lines, sure and possible links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attnlab.data.target import AttentionTarget, Weights

LINK = re.compile(r"(\d+)([-p?])(\d+)")


@dataclass(frozen=True)
class Links:
    """Pairs (source, target), counted from 0."""

    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]  # the sure ones too


def parse_pharaoh(line: str, index_base: Literal[0, 1]) -> Links:
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
    return Links(frozenset(sure), frozenset(all_links))


def alignment_target(
    links: Links, sources: int, targets: int, keys: Literal["source", "target"]
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
