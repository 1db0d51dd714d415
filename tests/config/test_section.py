"""Tests of what the package finds by itself and of plugins: files, packages, stages."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attnlab.cli import commands, main
from attnlab.config import section
from attnlab.config.schema import sections
from attnlab.config.section import SLOTS, Section, Stage, Variant, register
from attnlab.errors import Mistake, UserError

STAGE = '''
from attnlab.config.section import register

@register("stage", "lengths")
def lengths(arguments: list[str]) -> None:
    """How long the words after it are."""
    print(*map(len, arguments))
'''
Plugin = Callable[[str, str], None]

EVERY_KIND = """
import sys
from attnlab.config.schema import Config
from attnlab.config.section import SLOTS

Config.model_json_schema()
empty = [slot for slot, base in SLOTS.items() if not base.kinds() and slot != "stage"]
heavy = {"torch", "lightning", "numpy", "transformers"} & set(sys.modules)
assert not empty, empty
assert not heavy, heavy
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Writes a user's file, into the folder that commands are started in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)
    Stage.choices.pop("lengths", None)
    section.load_kinds.cache_clear()


def test_a_file_that_declares_a_command_is_a_stage() -> None:
    own = commands()
    assert own["train"].from_config
    assert not own["evaluate"].from_config
    assert "run" not in own  # a module that the stages share


def test_a_stage_of_a_file(plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    plugin("my_stages", STAGE)
    assert main(["lengths", "plugins=[my_stages]", "one", "three"]) == 0
    assert capsys.readouterr().out == "3 5\n"


def test_a_stage_of_an_installed_package(
    plugin: Plugin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("published_stages", STAGE)
    about = tmp_path / "published-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: published\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[attnlab.plugins]\nstages = published_stages\n")
    importlib.invalidate_caches()
    section.load_kinds.cache_clear()
    assert main(["lengths", "seven"]) == 0
    assert capsys.readouterr().out == "5\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0", "cannot import 'broken': ZeroDivisionError: division by zero ("),
        ("import no_such_package", "cannot import 'broken': ModuleNotFoundError: No module"),
        ("x = (", "cannot import 'broken': SyntaxError: '(' was never closed"),
        ("from attnlab.config.section import register\nregister('scores', 'x')", "no slot"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_line(
    text: str, problem: str, plugin: Plugin
) -> None:
    plugin("broken", text)
    with pytest.raises(UserError) as caught:
        section.import_plugins(["broken"])
    assert str(caught.value).startswith("plugins: ")
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_kind_is_registered_once() -> None:
    class Other: ...

    with pytest.raises(UserError, match="score 'dot' is there already, from attnlab"):
        register("score", "dot")(Other)
    assert SLOTS["score"].kinds()["dot"].__name__ == "Dot"


def test_every_slot_has_kinds_and_nothing_heavy_is_imported() -> None:
    subprocess.run([sys.executable, "-c", EVERY_KIND], check=True)


def test_register_names_the_slots_there_are() -> None:
    with pytest.raises(UserError, match="no slot 'scores'; did you mean 'score'"):
        register("scores", "mine")


class Inner(Section):
    size: int

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        yield Mistake(".size", f"{self.size}")


class Outer(Section):
    one: Inner
    several: dict[str, Inner]
    none: Inner | None


def test_sections_are_found_with_their_keys() -> None:
    inner = Inner(size=1)
    outer = Outer(one=inner, several={"a": inner}, none=None)
    assert list(sections(outer)) == [("", outer), ("one", inner), ("several.a", inner)]


def test_kinds_are_those_of_the_package_and_of_plugins() -> None:
    class Mine:
        def __init__(self, *, size: int) -> None: ...

    register("model", "mine_of_a_test")(Mine)
    try:
        assert {"recurrent", "mine_of_a_test"} <= SLOTS["model"].kinds().keys()
        assert issubclass(SLOTS["model"].kinds()["mine_of_a_test"], Variant)
    finally:
        SLOTS["model"].choices.pop("mine_of_a_test")
