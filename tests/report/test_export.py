"""Where there is no Chromium, matplotlib draws the maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.report import export as exporting
from tests.report.reported import reported


@pytest.mark.parametrize("dataset", ["dates", "canvas", "tones"])
def test_maps_without_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exporting.browser() is None
    examples = reported(dataset, count=2).examples
    files = exporting.export(tmp_path / "page.html", examples, tmp_path / "figures")
    assert {path.suffix for path in files} == {".svg", ".png"}
    assert len(files) == 4
    assert all(path.stat().st_size > 2000 for path in files)
