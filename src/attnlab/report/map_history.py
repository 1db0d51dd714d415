"""Maps of the same validation examples at several steps of training.

A run keeps them in `history/maps/step-*.json`, each `{"step": 120, "maps": {example id: rows}}`,
with rows of queries x keys as the model has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.report.examples import Rows, ShownExample

FOLDER = Path("history") / "maps"


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
    """The maps that a run recorded, in the order of steps."""
    texts = [path.read_text(encoding="utf-8") for path in (folder / FOLDER).glob("step-*.json")]
    return sorted((_frame(json.loads(text)) for text in texts), key=lambda frame: frame.step)


def _frame(content: dict[str, Any]) -> Frame:
    return Frame(content["step"], content["maps"])


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
