"""Every experiment on made data composes, trains, is evaluated and reported, at tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.config.compose import config_dir, load
from attnlab.datasets.generators.config import Generated
from tests.runs import SHORT, figures, ran

FILES = sorted((config_dir() / "experiment").glob("*.yaml"))
EXPERIMENTS = [path.stem for path in FILES if "paths.data=FOLDER" not in path.read_text()]


PAIRS = ["dataset.length=24", "dataset.pairs=4"]
SIZES = {
    "recall": PAIRS,
    "induction": PAIRS,
    "haystack": ["dataset.length=40", "dataset.distractors=1"],
}


def tiny(experiment: str) -> list[str]:
    """Overrides that make an experiment a matter of seconds, whatever its dataset and model."""
    config, _ = load([f"experiment={experiment}"])
    assert isinstance(config.dataset, Generated)
    overrides = [f"experiment={experiment}", *SHORT]
    overrides += ["dataset.train=128", "dataset.val=4", "dataset.test=4"]
    overrides += SIZES.get(config.dataset.kind, [])
    overrides += ["model.feedforward_dim=16"] if config.model.kind == "transformer" else []
    return [*overrides, "model.dim=16"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_runs_from_data_to_report(experiment: str, tmp_path: Path) -> None:
    run = ran(tmp_path, *tiny(experiment))
    found = figures(run)
    assert len(found["answer"]) > 1, "a loss and a headline figure"
    assert all(value is not None for value in found["answer"].values())
    assert ("blocks" in found) == (experiment == "haystack"), "what the blocks read hold"
    oracle = found["controls"]["oracle"]
    gold = [oracle[name] for name in ("mass_on_gold", "cc") if name in oracle]
    assert gold == pytest.approx([1.0]), "gold survives the way through codec, batch and control"
    pictures = {path.stem for path in (run / "maps").glob("*.png")}
    (example,) = {name.removesuffix("-heads") for name in pictures}
    assert example in pictures, "the map that is evaluated, beside those of all heads"
    assert (run / "report.html").stat().st_size > 1000
