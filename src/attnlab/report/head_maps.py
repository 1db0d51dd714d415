"""Maps of every attention site of a model, head by head, for the examples of a report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from torch import nn

from attnlab.attention.mechanism import role_of
from attnlab.attention.probes import Probe, sites
from attnlab.models.pooling import WORDS_SITE
from attnlab.report.encoding import Packed, pack

FILE = "heads.json"
MOST_WEIGHTS = 2**16  # of one head's map: 256 x 256
MOST_CHARACTERS = 5_000_000  # of all maps together, so that a page stays light

Heads = dict[str, Packed]  # site -> heads x queries x keys


class HeadMaps:
    """Collects maps, example by example, up to a total size."""

    def __init__(self) -> None:
        self.examples: list[Heads] = []
        self.characters = 0

    @property
    def full(self) -> bool:
        return self.characters >= MOST_CHARACTERS

    @contextmanager
    def record(self, model: nn.Module, examples: Sequence[int]) -> Iterator[list[Probe]]:
        """Records all maps of some examples of a batch, by their positions in it."""
        # At the site of words each sentence is an example.
        names = [site for site in sites(model) if site != WORDS_SITE]
        with ExitStack() as stack:
            yield [
                stack.enter_context(Probe(model, names, examples=[position]))
                for position in ([] if self.full else examples)
            ]

    def keep(self, probes: Sequence[Probe], rows: Iterable[Sequence[int]]) -> None:
        """Keeps the recorded maps, of each the rows that are shown."""
        for probe, shown in zip(probes, rows, strict=False):  # no probes once it is full
            if not self.full:
                self._keep(_packed(probe, shown))

    def _keep(self, heads: Heads) -> None:
        self.examples.append(heads)
        self.characters += sum(len(packed["data"]) for packed in heads.values())

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(self.examples), encoding="utf-8")


def load_heads(folder: Path) -> list[Heads]:
    """The maps of the first examples; empty if none were kept."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _packed(probe: Probe, queries: Sequence[int]) -> Heads:
    """The maps of one example without the padding of its batch."""
    heads: Heads = {}
    for site, maps in probe.maps().items():
        weights = maps[0].float().cpu().numpy()  # heads x queries x keys
        attended = np.flatnonzero(weights.any(axis=(0, 1)))
        keys = int(attended[-1]) + 1 if len(attended) else 0
        rows = range(keys) if role_of(site) == "self" else queries
        weights = weights[:, [row for row in rows if row < weights.shape[1]], :keys]
        if weights[0].size <= MOST_WEIGHTS:
            heads[site] = pack(weights, bits=8)
    return heads
