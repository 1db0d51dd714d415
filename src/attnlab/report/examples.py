"""Examples with their maps, as reports show them, in one small file."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.explain.block_reading import BlockReading
from attnlab.report.rendering import Regions, picture_address, spectrum
from attnlab.text_files import damage_reported, read_json, write_whole

Map = npt.NDArray[np.float32]
MOST_WEIGHTS = 2**16  # of one map, or one head of it, that is shown: 256 x 256
Rows = list[list[float]]
# In the files of older runs.
RENAMED_FIELDS = {"right": "gold_regions", "said": "predicted_regions", "beside": "context"}


def file_name(example_id: str) -> str:
    """An example's id as the name of a file: no path, whoever wrote the id."""
    name = re.sub(r"[^\w.=+-]+", "_", example_id).lstrip(".")[:100]
    return name if name == example_id else f"{name}-{zlib.crc32(example_id.encode()):08x}"


@dataclass(frozen=True)
class ShownExample:
    """One example as a report shows it, with rounded numbers.

    The keys are units of a text, patches of a picture or steps of a sound.
    """

    id: str
    keys: list[str]  # names of what is attended to
    queries: list[str]  # names of the rows of the map
    gold: str
    prediction: str
    map: Rows  # queries x keys: the model's
    gold_map: Rows  # queries x keys: rows without gold are zero
    meta: dict[str, object]
    grid: tuple[int, int] | None = None  # rows and columns, where keys are patches of a picture
    size: tuple[int, int] | None = None  # height and width of the picture whose patches are keys
    picture: str | None = None  # the same picture as a data URL
    spectrum: Rows | None = None  # of the sound whose steps are keys: bands x frames, 0 to 1
    gold_regions: Regions | None = None  # what gold marks in the picture
    predicted_regions: Regions | None = None  # what the model's answer marks in it
    context: dict[str, str] = field(default_factory=dict)  # texts that are not attended to, by name
    rows_shown: str = ""  # which, where the map has more
    blocks: dict[str, Rows] = field(default_factory=dict)  # of `BlockReading`: queries x keys

    @property
    def teacher_forced(self) -> bool:
        """Whether the rows of the map belong to words of gold that the model did not write."""
        rows = ("".join(self.queries), " ".join(self.queries))
        of_gold = self.gold.endswith(rows) if self.rows_shown else self.gold in rows
        return len(self.queries) > 1 and of_gold and self.prediction != self.gold

    @classmethod
    def of(
        cls,
        example: Example,
        codec: Codec,
        prediction: str,
        weights: Map,
        answer: Any = None,
        blocks: BlockReading | None = None,
    ) -> ShownExample:
        """An example with the model's map of it, over whole words; of a large map the last rows.

        Args:
            prediction: the model's answer as text.
            weights: the map, padded: queries x keys.
            answer: the prediction as the model returns it.
            blocks: what was read where a structure chooses blocks, padded as the map.
        """
        picture = _attended(example, codec, "picture")
        queries, keys = queries_of(example, codec), keys_of(example, codec)
        weights = codec.over_words(example, weights)
        in_words = example.attended in codec.texts
        target = codec.gold(example) if in_words else codec.target(example)
        gold_map = np.zeros((len(queries), len(keys)))
        if target is not None:
            rows = target.distribution() * target.query_mask[:, None]
            gold_map[: len(rows)] = rows[: len(queries)]
        content = attended_content(example, codec)
        read = {}
        for name, each in (blocks._asdict() if blocks else {}).items():
            # a word was missed if all its units were
            units = 1 - each if name == "missed" else each
            of_words = codec.over_words(example, units)[: len(queries), : len(keys)]
            marks = {"read": of_words > 0, "missed": of_words == 0}
            read[name] = _rounded(marks.get(name, of_words))
        if read:
            content["context"] |= {"never read": _never_read(read["missed"], queries, keys)}
        rows = shown_rows(len(queries), len(keys))
        last = slice(len(queries) - rows, len(queries))
        return cls(
            id=example.id,
            queries=queries[last],
            gold=gold_text(example, codec),
            prediction=prediction,
            map=_rounded(weights[last, : len(keys)]),
            gold_map=_rounded(gold_map[last]),
            meta=example.meta,
            gold_regions=Regions.of(codec.answers.encode(example), codec) if picture else None,
            predicted_regions=None if answer is None else Regions.of(answer, codec),
            rows_shown="" if rows == len(queries) else f"the last {rows:,} of {len(queries):,}",
            blocks={name: each[last] for name, each in read.items()},
            **content,
        )

    @classmethod
    def of_prediction(
        cls, example: Example, codec: Codec, prediction: str, weights: Map, words: Sequence[str]
    ) -> ShownExample:
        """An example whose gold is not known.

        Args:
            prediction: the model's answer as text.
            weights: rows x keys, over whole words and without padding.
            words: what the rows belong to, where the answer is a text.
        """
        keys = keys_of(example, codec)
        return cls(
            id=example.id,
            queries=list(words) or _rows_of_prediction(codec, prediction, keys, len(weights)),
            gold="",
            prediction=prediction,
            map=_rounded(weights),
            gold_map=_rounded(np.zeros_like(weights)),
            meta=example.meta,
            **attended_content(example, codec),
        )

    def mass_on_gold(self) -> float | None:
        """The mean weight on gold keys over annotated rows; None where there is no gold."""
        pairs = zip(self.map, self.gold_map, strict=True)
        masses = [sum(w for w, g in zip(*rows, strict=True) if g) for rows in pairs if any(rows[1])]
        return sum(masses) / len(masses) if masses else None


def attended_content(example: Example, codec: Codec) -> dict[str, Any]:
    """The fields of a `ShownExample` that show its inputs."""
    value: Any = example.inputs[example.attended]
    picture, sound = (_attended(example, codec, form) for form in ("picture", "sound"))
    return {
        "keys": keys_of(example, codec),
        "grid": _grid(example, codec),
        "size": (picture.height, picture.width) if picture else None,
        "picture": picture_address(np.asarray(value)) if picture else None,
        "spectrum": spectrum(np.asarray(value), sound.hop) if sound else None,
        "context": _context(example),
    }


def shown_rows(queries: int, keys: int) -> int:
    """How many rows of a map are shown, the last ones."""
    return min(queries, max(MOST_WEIGHTS // max(keys, 1), 1))


def gold_text(example: Example, codec: Codec) -> str:
    """The right answer in words; where it is a unit of the input, that unit."""
    return codec.answers.gold_text(example, keys_of(example, codec))


def _never_read(missed: Rows, queries: Sequence[str], keys: Sequence[str]) -> str:
    """The keys that no layer read on the way to the last row, in words."""
    never = [key for key, mark in zip(keys, missed[-1], strict=True) if mark]
    unread = f"{len(never)} of {len(keys)} keys in no layer, for row {len(queries)}"
    return f"{unread}: {' '.join(never)}" if never else unread


def _context(example: Example) -> dict[str, str]:
    texts = {name: value for name, value in example.inputs.items() if isinstance(value, list)}
    return {n: " ".join(named(text)) for n, text in texts.items() if n != example.attended}


def queries_of(example: Example, codec: Codec) -> list[str]:
    """The units of the answer, the classes of its boxes, or the one thing that is answered."""
    hops = codec.layout.hops
    if codec.rows_are_hops and hops > 1:
        return [f"hop {number + 1}" for number in range(hops)]
    if codec.rows_are_hops and not codec.answers.whole:  # a text that is chosen, not written
        return [""]
    gold = codec.gold(example)
    return codec.answers.row_names(example, 1 if gold is None else len(gold.query_mask))


def _rows_of_prediction(codec: Codec, prediction: str, keys: list[str], count: int) -> list[str]:
    """Names for the rows of a map whose answer is no text."""
    if codec.layout.rows == "input":
        return keys
    if count == 1:
        return [prediction]
    return [f"hop {n + 1}" if codec.rows_are_hops else str(n + 1) for n in range(count)]


def keys_of(example: Example, codec: Codec) -> list[str]:
    """The names of units; row and column of patches; the numbers of steps."""
    value = example.inputs[example.attended]
    if isinstance(value, list):
        return named(value)
    if value is None:
        return [f"no {example.attended}"] * len(codec.groups(example))
    grid = _grid(example, codec)
    if grid is not None:
        return [f"{row},{column}" for row in range(grid[0]) for column in range(grid[1])]
    return [str(step) for step in range(len(codec.groups(example)))]


def _grid(example: Example, codec: Codec) -> tuple[int, int] | None:
    picture = _attended(example, codec, "picture")
    return picture and codec.layout.grid(picture.height, picture.width)


def _attended(example: Example, codec: Codec, form: str) -> Any:
    """The attended input, if it is of this form and not missing; else None."""
    attended, value = codec.inputs[example.attended], example.inputs[example.attended]
    return attended if attended.form == form and value is not None else None


def _rounded(matrix: npt.NDArray[np.floating]) -> Rows:
    return np.round(np.asarray(matrix, np.float64), 4).tolist()


def save_examples(examples: Sequence[ShownExample], path: Path) -> None:
    """One JSON list."""
    content = [asdict(example) for example in examples]
    write_whole(path, json.dumps(content, ensure_ascii=False))


def load_examples(path: Path) -> list[ShownExample]:
    """The list that `save_examples` wrote; empty if there is no file."""
    if not path.is_file():
        return []
    remedy = f"attnlab evaluate {path.parent}"
    items = read_json(path, remedy, list[dict[str, Any]])
    with damage_reported(path, remedy):
        return [_from_plain(item) for item in items]


FORM = TypeAdapter(ShownExample)


def _from_plain(item: dict[str, Any]) -> ShownExample:
    """An example from its JSON object, whose fields may have their old names."""
    fields = {RENAMED_FIELDS.get(name, name): value for name, value in item.items()}
    example = FORM.validate_python(fields)
    if np.shape(example.map) != np.shape(example.gold_map):
        raise ValueError(f"example {example.id}: its map and its gold differ in size")
    return example
