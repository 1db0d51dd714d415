"""From maps of two directions to links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.alignment.config import Symmetrised
from attnlab.alignment.hmm import Reals
from attnlab.datasets.targets.alignments import HEURISTICS, Links


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

    def links(self, how: Symmetrised, threshold: float) -> Links:
        """One alignment of both directions.

        `agreement` links words whose two chances have a geometric mean above the threshold: it
        finds links of which one direction is sure and the other nearly so. The other ways combine
        the links of both directions, which no threshold moves.
        """
        if how == "agreement":
            return _above(np.sqrt(self.forward * self.backward), threshold)
        return HEURISTICS[how](*self.directed())


def _above(chances: Reals, threshold: float) -> Links:
    sources, targets = np.nonzero(chances > threshold)
    return frozenset(zip(sources.tolist(), targets.tolist(), strict=True))
