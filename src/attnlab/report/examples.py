"""Examples with their maps: what reports show, kept in one small file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.data.inputs import Picture, Sound
from attnlab.report.rendering import Regions, picture_address, spectrum

Map = npt.NDArray[np.float32]
Rows = list[list[float]]
Form = TypeVar("Form", Picture, Sound)


@dataclass(frozen=True)
class ShownExample:
    """One example as a report shows it. Numbers are rounded: they are looked at, not computed with.

    What is attended to (the keys) are units of a text, cells of a picture or steps of a sound.
    """

    id: str
    keys: list[str]  # the units that are looked at
    queries: list[str]  # what the rows of the map belong to
    gold: str
    prediction: str
    map: Rows  # queries x keys: the model's
    gold_map: Rows  # queries x keys: rows without gold are zero
    meta: dict[str, object]
    grid: tuple[int, int] | None = None  # rows and columns, where keys are cells of a picture
    size: tuple[int, int] | None = None  # height and width of the picture whose cells are keys
    picture: str | None = None  # the same to be shown, as an address
    spectrum: Rows | None = None  # of the sound whose steps are keys: bands x frames, 0 to 1
    right: Regions | None = None  # what gold marks in the picture
    said: Regions | None = None  # what the model's answer marks
    beside: dict[str, str] = field(default_factory=dict)  # texts that are not looked at: questions

    @classmethod
    def of(
        cls, example: Example, codec: Codec, prediction: str, weights: Map, answer: Any = None
    ) -> ShownExample:
        """From an example and the model's map of it (padded: queries x keys), over whole words.

        `answer` is the prediction as the model gives it.
        """
        seen: Any = example.inputs[example.attended]
        picture, sound = _looked_at(example, codec, Picture), _looked_at(example, codec, Sound)
        queries, keys = _queries(example, codec), _keys(example, codec)
        weights = codec.over_words(example, weights)
        in_words = example.attended in codec.texts
        target = codec.gold(example) if in_words else codec.target(example)
        gold_map = np.zeros((len(queries), len(keys)))
        if target is not None:
            rows = target.distribution() * target.query_mask[:, None]
            gold_map[: len(rows)] = rows[: len(queries)]
        return cls(
            id=example.id,
            keys=keys,
            queries=queries,
            gold=gold_text(example, codec),
            prediction=prediction,
            map=_rounded(weights[: len(queries), : len(keys)]),
            gold_map=_rounded(gold_map),
            meta=example.meta,
            grid=_grid(example, codec),
            size=(picture.height, picture.width) if picture else None,
            picture=picture_address(np.asarray(seen)) if picture else None,
            spectrum=spectrum(np.asarray(seen), sound.hop) if sound else None,
            right=Regions.of(codec.answers.encode(example), codec) if picture else None,
            said=None if answer is None else Regions.of(answer, codec),
            beside=_beside(example),
        )

    def mass_on_gold(self) -> float | None:
        """The mean weight on gold keys over annotated rows; None where there is no gold."""
        pairs = zip(self.map, self.gold_map, strict=True)
        masses = [sum(w for w, g in zip(*rows, strict=True) if g) for rows in pairs if any(rows[1])]
        return sum(masses) / len(masses) if masses else None


def gold_text(example: Example, codec: Codec) -> str:
    """The right answer in words; where it is a unit of the input, that unit."""
    return codec.answers.gold_text(example, _keys(example, codec))


def _beside(example: Example) -> dict[str, str]:
    texts = {name: seen for name, seen in example.inputs.items() if isinstance(seen, list)}
    return {n: " ".join(named(text)) for n, text in texts.items() if n != example.attended}


def _queries(example: Example, codec: Codec) -> list[str]:
    """The units of the answer, the classes of its boxes, or the one thing that is answered."""
    hops = codec.layout.hops
    if codec.rows_are_hops and hops > 1:
        return [f"hop {number + 1}" for number in range(hops)]
    if codec.rows_are_hops and not codec.answers.whole:  # a text that is chosen, not written
        return [""]
    gold = codec.gold(example)
    return codec.answers.row_names(example, 1 if gold is None else len(gold.query_mask))


def _keys(example: Example, codec: Codec) -> list[str]:
    """Units as they are; cells by row and column; steps by their number."""
    seen = example.inputs[example.attended]
    if isinstance(seen, list):
        return named(seen)
    if seen is None:
        return [f"no {example.attended}"] * len(codec.groups(example))
    grid = _grid(example, codec)
    if grid is not None:
        return [f"{row},{column}" for row in range(grid[0]) for column in range(grid[1])]
    return [str(step) for step in range(len(codec.groups(example)))]


def _grid(example: Example, codec: Codec) -> tuple[int, int] | None:
    found = _looked_at(example, codec, Picture)
    return found and codec.layout.grid(found.height, found.width)


def _looked_at(example: Example, codec: Codec, form: type[Form]) -> Form | None:
    """What is known of the input that is looked at, if it is of this form, and there."""
    found = codec.inputs[example.attended]
    there = example.inputs[example.attended] is not None
    return found if there and isinstance(found, form) else None


def _rounded(matrix: npt.NDArray[np.floating]) -> Rows:
    return np.round(np.asarray(matrix, np.float64), 4).tolist()


def save_examples(examples: Sequence[ShownExample], path: Path) -> None:
    """One JSON list."""
    content = [asdict(example) for example in examples]
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load_examples(path: Path) -> list[ShownExample]:
    """The list that `save_examples` wrote; none where there is no file."""
    if not path.is_file():
        return []
    items = json.loads(path.read_text(encoding="utf-8"))
    for item in items:
        for name in ("right", "said"):
            item[name] = item[name] and Regions(**item[name])
    return [ShownExample(**item) for item in items]
