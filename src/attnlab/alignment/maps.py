"""How likely each link of a sentence pair is, in both directions, and the links read off that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

import numpy as np

from attnlab.alignment.bitext import Reals, Sentence
from attnlab.alignment.config import AlignerSettings, Symmetrisation
from attnlab.datasets.targets import HEURISTICS, Links

MOST_COMPARED = 2_000  # sentence pairs by which a symmetrisation is chosen


@dataclass(frozen=True)
class Maps:
    """How likely each link is: sources x targets, once in each direction."""

    forward: Reals  # every target word comes from a source word, or from none
    backward: Reals  # every source word comes from a target word, or from none

    @classmethod
    def nothing(cls, sources: int, targets: int) -> Maps:
        """Of a pair of which one side is empty."""
        empty = np.zeros((sources, targets), np.float32)
        return cls(empty, empty)

    def directed(self) -> tuple[Links, Links]:
        """Links that are more likely than not, in each direction."""
        return _above(self.forward, 0.5), _above(self.backward, 0.5)

    def mean(self) -> Reals:
        """How likely each link is, both directions counting alike: sources x targets."""
        return (self.forward + self.backward) / 2

    def links(self, how: Symmetrisation, threshold: float) -> Links:
        """One alignment of both directions.

        `mean` links words whose two chances have a mean above the threshold, `agreement` a
        geometric mean, which one low chance pulls down further. The other ways combine the links
        of both directions, which no threshold moves.
        """
        if how == "mean":
            return _above(self.mean(), threshold)
        if how == "agreement":
            return _above(np.sqrt(self.forward * self.backward), threshold)
        return HEURISTICS[how](*self.directed())


class Aligns(Protocol):
    """What makes maps of sentence pairs."""

    @property
    def settings(self) -> AlignerSettings: ...

    def maps(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence]
    ) -> Iterator[tuple[int, Maps]]:
        """Maps with the places of their pairs, in any order; none of a pair that has no links."""
        ...

    def symmetrisation(self, maps: Sequence[Maps]) -> tuple[Symmetrisation, str]:
        """How both directions of these maps become one alignment, and why."""
        ...


def expected_f1(maps: Sequence[Maps], threshold: float) -> dict[Symmetrisation, float]:
    """F1 that the links of each symmetrisation are expected to have, without gold.

    A link is taken to be right as often as the mean of its two chances says.
    """
    step = -(-len(maps) // MOST_COMPARED) or 1
    compared = [each for each in maps[::step] if each.forward.size]
    chances = [each.mean() for each in compared]
    right = sum(float(each.sum()) for each in chances)
    expected: dict[Symmetrisation, float] = {}
    for how in get_args(Symmetrisation):
        found, hits = 0, 0.0
        for each, chance in zip(compared, chances, strict=True):
            links = each.links(how, threshold)
            found += len(links)
            hits += sum(float(chance[link]) for link in links)
        expected[how] = 2 * hits / max(found + right, 1e-9)
    return expected


def _above(chances: Reals, threshold: float) -> Links:
    sources, targets = np.nonzero(chances > threshold)
    return frozenset(zip(sources.tolist(), targets.tolist(), strict=True))
