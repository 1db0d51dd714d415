"""The title of a report says what the run's name leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnlab.config.compose import load
from attnlab.stages.report import one_title
from attnlab.stages.run import Run


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("attention=dot", "dates-recurrent-dot"),
        ("model.dim=32 seed=1", "dates-recurrent-additive (model.dim=32, seed=1)"),
        ("paths.run=x trainer.progress=false ++dataset.test=9", "dates-recurrent-additive"),
        (
            "seed=1 model.dim=32 dataset.train=99 model.dropout=0.1 trainer.max_epochs=2",
            "dates-recurrent-additive (seed=1, model.dim=32, dataset.train=99 and 2 more)",
        ),
    ],
)
def test_values_stand_behind_the_name(words: str, title: str, tmp_path: Path) -> None:
    config, plain = load(words.split())
    (tmp_path / "status.json").write_text(json.dumps({"overrides": words.split()}))
    assert one_title(Run(tmp_path, config, plain)) == title
