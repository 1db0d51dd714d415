"""Every experiment on made data composes, trains, is judged and reported, at tiny sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.config.compose import config_dir, load
from attnlab.config.dataset_generators import Generated
from attnlab.stages import train

NAMES = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
EXPERIMENTS = [n for n in NAMES if isinstance(load([f"experiment={n}"])[0].dataset, Generated)]
TINY = [
    "trainer.max_epochs=1",
    "trainer.batches.size=64",
    "trainer.batches.eval_size=4",
    "trainer.progress=false",
    "trainer.threads=1",
    "logger=files",
    "logger.maps_examples=1",
]


def tiny(experiment: str, folder: Path) -> list[str]:
    """Overrides that make an experiment a matter of seconds, whatever its dataset and model."""
    config, plain = load([f"experiment={experiment}"])
    overrides = [f"experiment={experiment}", *TINY]
    overrides += ["dataset.train=128", "dataset.val=4", "dataset.test=4"]
    overrides += ["dataset.length=24", "dataset.pairs=4"] if "length" in plain["dataset"] else []
    overrides += ["model.feedforward_dim=16"] if config.model.kind == "transformer" else []
    paths = [f"paths.{name}={folder / name}" for name in ("runs", "prepared")]
    return [*overrides, "model.dim=16", *paths]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_runs_from_data_to_report(experiment: str, tmp_path: Path) -> None:
    overrides = tiny(experiment, tmp_path)
    config, plain = load(overrides)
    train.main(config, plain, overrides)

    (run,) = tmp_path.glob("runs/*/*")
    figures = json.loads((run / "metrics.json").read_text())
    assert len(figures["answer"]) > 1, "a loss and a headline figure"
    assert all(value is not None for value in figures["answer"].values())
    oracle = figures["controls"]["oracle"]
    gold = [oracle[name] for name in ("mass_on_gold", "cc") if name in oracle]
    assert gold == pytest.approx([1.0]), "gold survives the way through codec, batch and control"
    pictures = {path.stem for path in (run / "maps").glob("*.png")}
    (example,) = {name.removesuffix("-heads") for name in pictures}
    assert example in pictures, "the map that is judged, beside those of all heads"
    assert (run / "report.html").stat().st_size > 1000
