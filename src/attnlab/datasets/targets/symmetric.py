"""One word alignment from two, each made in one direction (Och and Ney 2003; Koehn et al. 2003).

A model that writes French from English finds links that one going the other way does not. What
both find is nearly always right; what one finds is worth taking beside a link that is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

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
