"""A user's own model, in one file of theirs, trains with the package's tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from attnlab.config.compose import load
from attnlab.config.section import SLOTS
from attnlab.errors import ConfigError, UserError
from tests.models.building import built, texts
from tests.runs import figures, ran

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def overrides() -> list[str]:
    """The documented command's, the experiment left out."""
    _, _, command = DOCUMENTED.partition("python train.py experiment=reviews 'plugins=")
    words = f"plugins={command}".partition("```")[0].replace("\\\n", " ").split()
    return [word.strip("'") for word in words]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    blocks = (block.split("```")[0] for block in DOCUMENTED.split("```python\n")[1:])
    (tmp_path / "my_model.py").write_text(next(b for b in blocks if '@register("model"' in b))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield overrides()
    sys.modules.pop("my_model", None)
    SLOTS["model"].choices.pop("bag_of_words", None)


def test_it_trains(plugin: list[str], tmp_path: Path) -> None:
    short = ["trainer.max_epochs=2", "dataset.train=400", "dataset.val=50"]
    run = ran(tmp_path, "experiment=reviews", *plugin, *short, "dataset.test=50")
    measured = figures(run)
    assert "accuracy" in str(measured)


def test_each_state_is_its_own_word(plugin: list[str]) -> None:
    config, _ = load(["~experiment", "task=generate", "logger=files", *plugin])
    with pytest.raises(UserError, match=r"model\.kind: has no decoder"):
        built(config, texts([2], [3]))
    tags = ["dataset=files", "dataset/answer=tags"]
    config, _ = load(["~experiment", "task=tag", "logger=files", *tags, *plugin])
    model, batch, _ = built(config, texts([4, 6], [4, 6]))
    with torch.no_grad():
        states = model.reader(batch).memory.values
    units = batch.inputs["text"].values
    same = units[0, :, None] == units[0]
    distances = torch.cdist(states[0], states[0])
    assert (distances[same] < 1e-4).all()
    assert (distances[~same] > 1e-2).all()


def test_a_missing_setting_is_named(plugin: list[str]) -> None:
    without = [word for word in plugin if "hidden" not in word]
    with pytest.raises(ConfigError, match=r"model\.hidden: missing"):
        load(["experiment=reviews", *without])
