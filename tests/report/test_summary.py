"""Figures with intervals and controls, as rows and as pictures."""

from __future__ import annotations

import json
from pathlib import Path

from attnlab.report.summary import draw_findings, draw_panels, draw_rows, findings, plausibility
from tests.report.reported import reported

FIGURES = reported("dates", count=3).figures


def test_each_figure_stands_beside_its_controls() -> None:
    rows = [row.cells() for row in plausibility(FIGURES)]
    assert rows[0] == ["mass_on_gold", "model", 0.7, 0.65, 0.75]
    assert ["mass_on_gold", "uniform", 0.1, None, None] in rows
    assert len(rows) == 2 * (1 + 5)


def test_the_picture_has_a_line_for_each_figure_and_a_mark_for_each_map() -> None:
    [axes] = draw_rows("a title", plausibility(FIGURES)).axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["mass on gold", "pointing accuracy"]
    [legend] = axes.figure.legends
    kinds = ["model", "uniform", "random", "permuted", "position", "oracle"]
    assert [text.get_text() for text in legend.get_texts()] == kinds
    drawn = {line.get_label() for line in axes.lines if line.get_xdata()[0] == 0.1}
    assert drawn == {"uniform"}


def test_pictures_are_files_of_the_run(tmp_path: Path) -> None:
    assert draw_findings(tmp_path) == {}
    test = {"test": "uniform maps", "figure": "answers changed", "value": 0.4, "low": 0.3}
    content = {"tests": [test | {"high": 0.5, "verdict": "It decides."}]}
    (tmp_path / "trust.json").write_text(json.dumps(content))
    [row] = findings(tmp_path)
    assert row.cells() == [
        "uniform maps: answers changed", "model", 0.4, 0.3, 0.5, "It decides.",
    ]  # fmt: skip
    written = draw_panels(FIGURES, tmp_path) | draw_findings(tmp_path)
    assert set(written) == {"plausibility", "trust", "findings"}
    for name, path in written.items():
        assert path == tmp_path / "panels" / f"{name}.png"
        assert path.stat().st_size > 5000
