"""Tests of sections, slots and their kinds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from attnlab.config.schema import sections
from attnlab.config.section import SLOTS, Section, Variant, register
from attnlab.errors import Mistake, UserError

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
