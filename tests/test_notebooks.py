"""Every cell of docs/notebooks is run, in an empty folder; what a cell ends with is shown."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == kind]


def execute(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does: what its last line comes to is its result."""
    tree, result = ast.parse(source), None
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        result = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return result


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean_and_their_links_lead_somewhere(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            compile("".join(cell["source"]), notebook.name, "exec")
    for text in cells(notebook, "markdown"):
        for part in text.split("](")[1:]:
            assert (notebook.parent / part.partition(")")[0]).is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = 0
    for source in cells(notebook, "code"):
        result = execute(source, names)
        shown += hasattr(result, "_repr_html_") and "<" in result._repr_html_()
    assert shown
    if notebook.stem == "train_and_look":
        assert [answer.text for answer in names["answers"]] == [
            "2021-05-03",
            "1999-03-12",
            "2008-07-01",
        ]
    elif notebook.stem == "judge_your_model":
        assert all(change > 1e-3 for change in names["changes"].values())
