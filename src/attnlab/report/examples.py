"""Examples with their maps: what reports show, kept in one small file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Example

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ShownExample:
    """One example as a report shows it. Maps are rounded: they are looked at, not computed with."""

    id: str
    keys: list[str]  # the units that are looked at
    queries: list[str]  # the units of the gold answer, or its label
    gold: str
    prediction: str
    map: list[list[float]]  # queries x keys: the model's
    gold_map: list[list[float]]  # queries x keys: rows without gold are zero
    meta: dict[str, object]

    @classmethod
    def of(cls, example: Example, prediction: str, weights: Map) -> ShownExample:
        """From an example of text and the model's map of it (padded)."""
        source, answer = example.inputs[example.looks_at], example.answer
        keys = [str(unit) for unit in source] if isinstance(source, list) else []
        queries = list(answer) if isinstance(answer, list) else [str(answer)]
        gold_map = np.zeros((len(queries), len(keys)))
        if example.target is not None:
            gold_map = example.target.distribution() * example.target.query_mask[:, None]
        joint = "" if all(len(unit) == 1 for unit in queries) else " "
        return cls(
            id=example.id,
            keys=keys,
            queries=queries,
            gold=joint.join(queries),
            prediction=prediction,
            map=np.round(weights[: len(queries), : len(keys)], 4).tolist(),
            gold_map=np.round(gold_map, 4).tolist(),
            meta=example.meta,
        )

    def mass_on_gold(self) -> float | None:
        """The mean weight on gold keys over annotated rows; None where there is no gold."""
        pairs = zip(self.map, self.gold_map, strict=True)
        masses = [sum(w for w, g in zip(*rows, strict=True) if g) for rows in pairs if any(rows[1])]
        return sum(masses) / len(masses) if masses else None


def save_examples(examples: Sequence[ShownExample], path: Path) -> None:
    """One JSON list."""
    content = [asdict(example) for example in examples]
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load_examples(path: Path) -> list[ShownExample]:
    """The list that `save_examples` wrote; none where there is no file."""
    if not path.is_file():
        return []
    return [ShownExample(**item) for item in json.loads(path.read_text(encoding="utf-8"))]


def draw_maps(examples: Sequence[ShownExample], folder: Path) -> list[Path]:
    """A picture of each map: darkness is weight, a frame marks gold."""
    from matplotlib.figure import Figure

    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for example in examples:
        queries, keys = len(example.queries), len(example.keys)
        figure = Figure(figsize=(1.2 + 0.24 * keys, 1.0 + 0.26 * queries), dpi=130)
        axes = figure.add_subplot()
        axes.imshow(np.array(example.map), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in zip(*np.nonzero(np.array(example.gold_map)), strict=True):
            axes.add_patch(_frame(row, column))
        axes.set_xticks(range(keys), [unit.replace(" ", "␣") for unit in example.keys])
        axes.set_yticks(range(queries), example.queries)
        axes.tick_params(length=0, labelsize=9)
        axes.set_title(f"gold {example.gold}   answer {example.prediction}", fontsize=9, loc="left")
        for spine in axes.spines.values():
            spine.set_color("#cccccc")
        figure.tight_layout()
        paths.append(folder / f"{example.id}.png")
        figure.savefig(paths[-1])
    return paths


def _frame(row: int, column: int):  # noqa: ANN202 - a matplotlib patch, imported late
    from matplotlib.patches import Rectangle

    corner = (column - 0.5, row - 0.5)
    return Rectangle(corner, 1, 1, fill=False, edgecolor="#d1495b", linewidth=1.1)
