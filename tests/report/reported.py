"""Runs to look at, without training: real examples of the embedded data under drawn maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.config.compose import compose, resolve
from attnlab.config.dataset import Dataset
from attnlab.config.schema import Config  # noqa: F401 - opens the choices of every slot
from attnlab.data.codec import Codec
from attnlab.report.classes import Classes
from attnlab.report.examples import ShownExample
from attnlab.report.page import ReportedRun
from attnlab.report.recorded_maps import Frame, Heads, MapHistory, map_history
from attnlab.report.rendering import pack
from tests.forms import fitted

ATTENTION = {"mass_on_gold": 0.7, "pointing_accuracy": 0.8}


def reported(
    dataset: str,
    *more: str,
    count: int = 12,
    seed: int = 0,
    heads: tuple[int, int] = (0, 0),
    film: bool = False,
    classes: Classes | None = None,
) -> ReportedRun:
    """A run on this dataset: its maps lean to gold, every third answer is another example's.

    `heads` are layers and heads of self-attention; with `film`, maps over training are recorded.
    """
    settings = [f"dataset={dataset}", *(f"dataset.{s}=40" for s in ("train", "val")), *more]
    chosen = resolve(compose([*settings, f"dataset.test={count}"]))["dataset"]
    source = Dataset.model_validate(chosen).build()
    examples = list(source.examples("test"))
    codec = fitted([*source.examples("train"), *examples])  # so few lack some label otherwise
    random = np.random.default_rng(seed)
    shown = [_shown(example, codec, random) for example in examples]
    for i in range(0, count, 3):
        shown[i] = _answered(shown[i], shown[(i + 1) % count].gold)
    return ReportedRun(
        name=f"{dataset}-drawn",
        folder=f"runs/{dataset}/{seed}",
        settings={"seed": seed, "attention.name": "additive", "dataset.name": dataset},
        figures=_figures(seed, trusted=codec.form != "nothing"),
        curves=_curves(seed),
        examples=shown,
        heads=[_heads(len(e.keys), heads, random) for e in shown] if heads[0] else [],
        losses={e.id: float(random.exponential()) for e in shown},
        map_site="decoder.cross.-1",
        provenance={"command": f"python train.py dataset={dataset} seed={seed}", "seed": str(seed)},
        history=_history(examples[:3], shown, codec, random) if film else MapHistory(),
        classes=classes,
    )


def _history(
    examples: list[Any], shown: list[ShownExample], codec: Codec, random: np.random.Generator
) -> MapHistory:
    """Maps that move from noise to the last map; the second example lacks the first frame."""
    frames = [
        Frame(step, {e.id: _moved(s.map, step / 200, random) for e, s in zip(examples, shown)})  # noqa: B905
        for step in range(0, 201, 50)
    ]
    del frames[0].maps[examples[1].id]  # type: ignore[attr-defined]
    return map_history(frames, examples, codec)


def _moved(rows: list[list[float]], share: float, random: np.random.Generator) -> Any:
    last = np.array(rows)
    noise = random.dirichlet(np.ones(last.shape[1]), size=len(last))
    return (share * last + (1 - share) * noise).tolist()


def _shown(example: Any, codec: Codec, random: np.random.Generator) -> ShownExample:
    bare = ShownExample.of(example, codec, "", np.zeros((0, 0), np.float32))
    gold = np.array(bare.gold_map)
    noise = random.dirichlet(np.full(gold.shape[1], 0.3), size=len(gold))
    lean = random.uniform(0.2, 1.0)
    weights = np.where(gold.any(-1, keepdims=True), lean * gold + (1 - lean) * noise, noise)
    answer = codec.answers.encode(example).numpy()
    if codec.form == "boxes":
        answer = np.pad(answer, ((0, 0), (0, 1)), constant_values=0.9)
    return ShownExample.of(example, codec, bare.gold, weights.astype(np.float32), answer)


def _answered(shown: ShownExample, prediction: str) -> ShownExample:
    return ShownExample(**(vars(shown) | {"prediction": prediction}))


def _heads(keys: int, heads: tuple[int, int], random: np.random.Generator) -> Heads:
    layers, count = heads
    drawn = random.dirichlet(np.full(keys, 0.1), size=(layers, count, keys))
    return {f"encoder.self.{layer}": pack(drawn[layer], bits=8) for layer in range(layers)}


def _figures(seed: int, trusted: bool) -> dict[str, Any]:
    known = {"uniform": 0.1, "random": 0.12, "permuted": 0.2, "position": 0.3, "oracle": 1.0}
    return {
        "answer": {"loss": 0.4, "exact_match": 0.6 + 0.1 * seed},
        "attention": ATTENTION,
        "trust": {"uniform": 0.9, "permuted": 0.8} if trusted else {},
        "controls": {name: dict.fromkeys(ATTENTION, value) for name, value in known.items()},
        "answer_controls": {"majority": {"exact_match": 0.2}},
        "intervals": {"exact_match": [0.5, 0.7], "mass_on_gold": [0.65, 0.75]},
        "about": {
            "mass_on_gold": {"help": "Weight on marked keys, mean over rows"}
            | {"higher_is_better": True, "uniform": "share marked", "perfect": "1"}
        },
        "cost": {"parameters": 12345, "train_seconds": 1.5, "evaluate_seconds": 0.5},
    }


def _curves(seed: int) -> dict[str, list[tuple[int, float]]]:
    steps = range(0, 200, 10)
    return {
        "train/loss": [(s, 3 * 0.98**s + 0.1 * seed) for s in steps],
        "val/loss": [(s, 3 * 0.97**s + 0.1 * seed) for s in range(0, 200, 50)],
        "val/attention/mass_on_gold": [(s, 1 - 0.98**s) for s in range(0, 200, 50)],
    }
