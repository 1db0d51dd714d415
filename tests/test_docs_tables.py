"""The tables of docs/mechanisms.md are those of the schemas."""

from __future__ import annotations

import pytest

from docs.tables import TABLES, written
from tests.commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "mechanisms.md").read_text(encoding="utf-8")


# The table of figures: tests/metrics/test_figures.py, where figures of plugins do not count.
@pytest.mark.parametrize("name", [name for name in TABLES if name.startswith("mechanism-")])
def test_the_page_has_the_table(name: str) -> None:
    assert f"<!-- {name} -->" in PAGE
    assert TABLES[name]() in PAGE, "write it anew: python -m docs.tables"


def test_tables_are_written_between_their_marks() -> None:
    assert written(PAGE) == PAGE
