"""The default experiment, as a newcomer runs it: every promise of the README's first lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_default_experiment_keeps_its_promises(tmp_path: Path) -> None:
    paths = [f"paths.run={tmp_path / 'run'}", f"paths.prepared={tmp_path / 'prepared'}"]
    done = run([sys.executable, str(REPOSITORY / "train.py"), *paths], threads=os.cpu_count() or 1)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert figures["answer"]["exact_match"] >= 0.98
    assert figures["attention"]["mass_on_gold"] >= 0.9
    assert figures["controls"]["uniform"]["mass_on_gold"] < 0.2
    assert figures["trust"]["uniform"] > 0.9, "with this map taken away the answers must change"
    assert figures["cost"]["train_seconds"] < 90
    for name in ("checkpoints/best.ckpt", "metrics.json", "maps", "report.html"):
        assert str(tmp_path / "run" / name) in done.stdout
    assert "nan" not in (tmp_path / "run" / "metrics.json").read_text().lower()
