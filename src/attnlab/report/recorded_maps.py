"""Maps kept with a run: of every site, head by head, and of the same examples over training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from attnlab.attention.probes import Probe
from attnlab.attention.taps import sites
from attnlab.config.combinations import role_of
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.models.pooling import WORDS_SITE
from attnlab.report.examples import MOST_WEIGHTS, Rows, ShownExample
from attnlab.report.rendering import Packed, pack, unpack
from attnlab.text_files import damage_reported, read_json, write_whole

FILE = "heads.json"
MOST_CHARACTERS = 5_000_000  # of all maps together, so that a page stays light

Heads = dict[str, Packed]  # site -> heads x queries x keys

FOLDER = Path("history") / "maps"


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
        write_whole(folder / FILE, json.dumps(self.examples))


def load_heads(folder: Path) -> list[Heads]:
    """The maps of the first examples; empty if none were kept."""
    path, remedy = folder / FILE, f"attnlab evaluate {folder}"
    if not path.is_file():
        return []
    examples = read_json(path, remedy, list[Heads])
    with damage_reported(path, remedy):
        for packed in (packed for heads in examples for packed in heads.values()):
            unpack(packed)
    return examples


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


@dataclass(frozen=True)
class Frame:
    """The maps of one step, by the ids of their examples."""

    step: int
    maps: Mapping[str, Rows]


@dataclass(frozen=True)
class MapHistory:
    """Examples with their maps over training."""

    steps: list[int] = field(default_factory=list)
    examples: list[tuple[ShownExample, list[Rows | None]]] = field(default_factory=list)
    """Each with a map for each step, or None where there is none."""


def load_frames(folder: Path) -> list[Frame]:
    """The maps that a run recorded, in the order of steps.

    They stand in `history/maps/step-*.json`, each `{"step": 120, "maps": {example id: rows}}`, with
    rows of queries x keys as the model has them.
    """
    paths = (folder / FOLDER).glob("step-*.json")
    contents = [read_json(path, f"rm {path}", Frame) for path in paths]
    frames = [Frame(content["step"], content["maps"]) for content in contents]
    return sorted(frames, key=lambda frame: frame.step)


def map_history(frames: Sequence[Frame], examples: Iterable[Example], codec: Codec) -> MapHistory:
    """The maps of frames over the words of the examples that they belong to."""
    ids = {id_ for frame in frames for id_ in frame.maps}
    filmed: list[tuple[ShownExample, list[Rows | None]]] = []
    for example in examples:
        if example.id in ids:
            shown = [_shown(example, frame, codec) for frame in frames]
            maps = [each and each.map for each in shown]
            filmed.append((next(filter(None, reversed(shown))), maps))
    return MapHistory([frame.step for frame in frames], filmed)


def _shown(example: Example, frame: Frame, codec: Codec) -> ShownExample | None:
    rows = frame.maps.get(example.id)
    if rows is None:
        return None
    return ShownExample.of(example, codec, "", np.array(rows, np.float32))
