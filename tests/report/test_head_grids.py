"""Every layer and head as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attnlab.report.map_pictures import draw_head_grids, draw_heads
from attnlab.report.rendering import pack
from tests.report.reported import reported


def test_a_row_for_each_site_and_a_column_for_each_head(tmp_path: Path) -> None:
    run = reported("dates", count=2, heads=(3, 4))
    figure = draw_heads(run.examples[0], run.heads[0])
    seen = [axes for axes in figure.axes if axes.get_visible()]
    assert len(seen) == 12
    assert [axes.get_ylabel() for axes in seen[::4]] == [f"encoder.self.{i}" for i in range(3)]
    keys = len(run.examples[0].keys)
    assert seen[0].images[0].get_array().shape == (keys, keys)
    paths = draw_head_grids(run.examples, run.heads, tmp_path / "maps")
    assert [path.name for path in paths] == [f"{e.id}-heads.png" for e in run.examples]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_a_single_query_over_a_picture_is_laid_out_as_the_picture() -> None:
    example = reported("canvas", count=1).examples[0]
    assert example.grid is not None
    cells = example.grid[0] * example.grid[1]
    drawn = np.random.default_rng(0).dirichlet(np.ones(cells), size=(2, 1))
    figure = draw_heads(example, {"pooling": pack(drawn, bits=8)})
    assert figure.axes[0].images[0].get_array().shape == tuple(example.grid)


def test_a_model_with_one_map_needs_no_overview(tmp_path: Path) -> None:
    run = reported("dates", count=2, heads=(1, 1))
    assert draw_head_grids(run.examples, run.heads, tmp_path / "maps") == []
