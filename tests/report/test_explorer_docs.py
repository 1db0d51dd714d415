"""What docs/explorer.md says and shows of the page."""

from __future__ import annotations

import re

import pytest

from tests.commands import REPOSITORY

PAGE = REPOSITORY / "docs" / "explorer.md"
SHOWN = re.findall(r"\]\((pictures/explorer_\w+\.png)\)", PAGE.read_text(encoding="utf-8"))


def test_there_is_a_picture_of_every_form_of_input() -> None:
    names = {"text", "alignment", "image", "audio"}
    assert set(SHOWN) == {f"pictures/explorer_{name}.png" for name in names}


@pytest.mark.parametrize("shown", SHOWN)
def test_pictures_are_there_and_light(shown: str) -> None:
    assert 20_000 < (PAGE.parent / shown).stat().st_size < 300_000


def test_every_key_of_the_page_is_named() -> None:
    script = REPOSITORY / "src" / "attnlab" / "report" / "explorer" / "page.js"
    [keys] = re.findall(r"const KEYS = \{(.*?)\n\};", script.read_text(encoding="utf-8"), re.DOTALL)
    known = set(re.findall(r'(?:^|[\s,{])"?([a-z/])"?: \(\) =>', keys))
    named = set(re.findall(r"`([a-z/])`", PAGE.read_text(encoding="utf-8")))
    assert known == named
    assert len(known) == 7
