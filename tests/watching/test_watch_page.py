"""docs/watch.md is true: its snippets run, one after the other."""

from __future__ import annotations

import re

from tests.commands import REPOSITORY


def test_snippets_of_the_page_run() -> None:
    page = (REPOSITORY / "docs" / "watch.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 7
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, "docs/watch.md", "exec"), names)
