"""Figures of each class: read from their table as they were written, printed, drawn and logged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from attnlab.metrics.answers import Classification, SpanF1
from attnlab.report.classes import COLUMNS, Classes, draw_confusion, read_classes
from attnlab.report.tables import save_classes
from attnlab.text_files import DamagedFileError

LABELS = ["billing", "delivery", "login", "never"]
GOLD = ["billing"] * 4 + ["delivery"] * 3 + ["login"] * 3
PREDICTED = [*["billing"] * 4, "delivery", "delivery", "billing", "login", "billing", "billing"]


def evaluated(folder: Path) -> Classes:
    """The classes of a run with these answers, as they are read from its folder."""
    metric = Classification(LABELS)
    metric.update(PREDICTED, GOLD)
    saved, classes = save_classes(folder, [metric]), read_classes(folder)
    assert saved is not None
    assert classes is not None
    assert (saved.names, saved.gold) == (classes.names, classes.gold)
    assert saved.figures["f1"] == pytest.approx(classes.figures["f1"], abs=1e-5, nan_ok=True)
    return classes


def test_figures_and_confusion_are_those_of_scikit_learn(tmp_path: Path) -> None:
    found = evaluated(tmp_path)
    expected = precision_recall_fscore_support(GOLD, PREDICTED, labels=LABELS[:3])
    for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        np.testing.assert_allclose(found.figures[name][:3], values, atol=1e-6)
    assert found.gold == [4, 3, 3, 0]
    assert found.confusion is not None
    assert found.confusion.tolist() == [[4, 0, 0, 0], [1, 2, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]


def test_the_weakest_class_is_named_with_what_it_is_taken_for(tmp_path: Path) -> None:
    (line,) = evaluated(tmp_path).weakest()
    assert line == ("weakest class: 'login', F1 0.5000, recall 0.3333; 2 of 3 taken for 'billing'")


def test_what_is_not_defined_is_null_on_the_page(tmp_path: Path) -> None:
    found = evaluated(tmp_path)
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["recall"][3] is None
    rows = found.rows()
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert [row[-2:] for row in rows] == [["", 0], ["billing", 1], ["billing", 2], ["", 0]]


def test_no_class_is_the_weakest_where_all_are_perfect() -> None:
    perfect = {name: [1.0, 1.0] for name in ("precision", "recall", "f1")}
    assert not list(Classes(["bad", "good"], [4, 2], perfect, np.diag([4, 2])).weakest())


def test_the_matrix_is_drawn_where_it_can_be_read(tmp_path: Path) -> None:
    path = draw_confusion(evaluated(tmp_path), tmp_path / "panels" / "confusion.png")
    assert path is not None
    assert path.read_bytes()[:4] == b"\x89PNG"
    many = [str(number) for number in range(50)]
    large = Classes(many, [1] * 50, {}, np.eye(50, dtype=int))
    assert draw_confusion(large, tmp_path / "large.png") is None


def test_types_of_spans_have_no_confusion(tmp_path: Path) -> None:
    metric = SpanF1()
    metric.update(["B-LOC O"], ["B-LOC B-ORG"])
    save_classes(tmp_path, [metric])
    found = read_classes(tmp_path)
    assert found is not None
    assert (found.names, found.confusion) == (["LOC", "ORG"], None)
    assert "taken for" not in next(found.weakest())
    assert draw_confusion(found, tmp_path / "confusion.png") is None


def test_answers_without_classes_have_none_and_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    assert read_classes(tmp_path) is None
    evaluated(tmp_path)
    path = tmp_path / "classes.csv"
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(DamagedFileError, match=r"classes\.csv"):
        read_classes(tmp_path)
