"""Examples with their maps: what reports show, kept in one small file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.data.inputs import Picture, Sound

Map = npt.NDArray[np.float32]
Rows = list[list[float]]

LONGEST_SIDE = 96  # pixels of a picture that is looked at
BANDS = 32  # of a spectrum that is looked at


@dataclass(frozen=True)
class ShownExample:
    """One example as a report shows it. Numbers are rounded: they are looked at, not computed with.

    What is attended to (the keys) are units of a text, cells of a picture or steps of a sound; of
    the last two `image` holds what they look like.
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
    image: Rows | None = None  # pixels, or the spectrum of a sound: rows x columns, 0 to 1
    beside: dict[str, str] = field(default_factory=dict)  # texts that are not looked at: questions

    @classmethod
    def of(cls, example: Example, codec: Codec, prediction: str, weights: Map) -> ShownExample:
        """From an example and the model's map of it (padded: queries x keys), over whole words."""
        queries, keys = _queries(example, codec), _keys(example, codec)
        weights = codec.over_words(example, weights)
        in_words = example.looks_at in codec.texts
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
            image=_image(example, codec),
            beside=_beside(example),
        )

    def mass_on_gold(self) -> float | None:
        """The mean weight on gold keys over annotated rows; None where there is no gold."""
        pairs = zip(self.map, self.gold_map, strict=True)
        masses = [sum(w for w, g in zip(*rows, strict=True) if g) for rows in pairs if any(rows[1])]
        return sum(masses) / len(masses) if masses else None


def gold_text(example: Example, codec: Codec) -> str:
    """The right answer in words; where it is a unit of the input, that unit."""
    if isinstance(example.answer, int):
        return _keys(example, codec)[example.answer]
    return codec.text(codec.answers.encode(example).tolist())


def _beside(example: Example) -> dict[str, str]:
    texts = {name: seen for name, seen in example.inputs.items() if isinstance(seen, list)}
    return {n: " ".join(named(text)) for n, text in texts.items() if n != example.looks_at}


def _queries(example: Example, codec: Codec) -> list[str]:
    """The units of the answer, the classes of its boxes, or the one thing that is answered."""
    answer, hops = example.answer, codec.grain.hops
    if codec.at_once and hops > 1:
        return [f"look {number + 1}" for number in range(hops)]
    if codec.grain.whole:
        return [""]
    if isinstance(answer, list):
        return named(answer)
    if isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.shape[1] == 5:
        return [str(int(box[4])) for box in answer]
    gold = codec.gold(example)
    rows = 1 if gold is None else len(gold.query_mask)
    return ["" if isinstance(answer, np.ndarray | int | None) else str(answer)] * rows


def _keys(example: Example, codec: Codec) -> list[str]:
    """Units as they are; cells by row and column; steps by their number."""
    seen = example.inputs[example.looks_at]
    if isinstance(seen, list):
        return named(seen)
    if seen is None:
        return [f"no {example.looks_at}"] * len(codec.groups(example))
    grid = _grid(example, codec)
    if grid is not None:
        return [f"{row},{column}" for row in range(grid[0]) for column in range(grid[1])]
    return [str(step) for step in range(len(codec.groups(example)))]


def _grid(example: Example, codec: Codec) -> tuple[int, int] | None:
    found, seen = codec.inputs[example.looks_at], example.inputs[example.looks_at]
    there = isinstance(found, Picture) and seen is not None
    return codec.grain.grid(found.height, found.width) if there else None


def _image(example: Example, codec: Codec) -> Rows | None:
    found, seen = codec.inputs[example.looks_at], example.inputs[example.looks_at]
    if seen is None:
        return None
    if isinstance(found, Picture):
        return _rounded(_stretched(_smaller(np.asarray(seen).mean(0))))
    if isinstance(found, Sound):
        return _rounded(_stretched(_spectrum(np.asarray(seen), found.hop)))
    return None


def _spectrum(samples: Map, hop: int) -> Map:
    """Logarithm of the energy, low frequencies last: bands x frames."""
    whole = np.pad(samples, (0, -len(samples) % hop))
    energy = np.abs(np.fft.rfft(whole.reshape(-1, hop) * np.hanning(hop), n=2 * BANDS)) ** 2
    return np.log(energy[:, 1:].T[::-1] + 1e-3).astype(np.float32)


def _smaller(image: Map) -> Map:
    """The mean of squares of pixels, so many that no side is longer than LONGEST_SIDE."""
    side = -(-max(image.shape) // LONGEST_SIDE)
    rows, columns = (size // side for size in image.shape)
    whole = image[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side).mean((1, 3))


def _stretched(image: Map) -> Map:
    """From 0 to 1."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-9)


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
    return [ShownExample(**item) for item in json.loads(path.read_text(encoding="utf-8"))]
