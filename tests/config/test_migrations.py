"""Tests of the tables of changed names: made-up ones, and that the real ones are used."""

from __future__ import annotations

from typing import Any

import pytest

from attnlab.config import migrations, recipes
from attnlab.config.compose import checked, find_mistakes, load
from attnlab.config.migrations import (
    RENAMED_KEYS,
    RENAMED_PARAMETERS,
    migrated,
    migrated_overrides,
    migrated_parameters,
)


@pytest.fixture(autouse=True)
def said_anew() -> None:
    migrations._say.cache_clear()
    recipes.say.cache_clear()


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        "loss.extra": "loss.terms",
        "loss.terms.*.on": "loss.terms.*.site",
        "loss.main": "loss.terms.main",
    }
    monkeypatch.setattr(migrations, "RENAMED_KEYS", keys)
    monkeypatch.setattr(migrations, "RENAMED_GROUPS", {"loss/extra": "loss/terms"})
    values = {"loss": {"old": "new"}, "loss.terms.main.kind": {"ce": "cross_entropy"}}
    monkeypatch.setattr(migrations, "RENAMED_VALUES", values)
    monkeypatch.setattr(migrations, "RENAMED_PARAMETERS", {r"\.bend\.": ".mlp."})


@pytest.mark.usefixtures("tables")
def test_a_config_gets_the_names_of_today(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"loss": {"extra": {"a.b": {"on": "x"}}, "main": {"kind": "ce"}, "empty": {}}, "seed": 0}
    assert migrated(old) == {
        "loss": {"terms": {"a.b": {"site": "x"}, "main": {"kind": "cross_entropy"}}, "empty": {}},
        "seed": 0,
    }
    assert capsys.readouterr().err.splitlines() == [
        "attnlab: loss.extra is now loss.terms",
        "attnlab: loss.main is now loss.terms.main",
    ]


def test_names_that_are_numbers_stay() -> None:
    assert migrated({"labels": {1: "good"}}) == {"labels": {1: "good"}}


@pytest.mark.usefixtures("tables")
def test_what_somebody_set_by_its_old_name_counts() -> None:
    """An experiment of an older time, merged over the defaults of today."""
    both = {"loss": {"terms": {"main": None}, "main": {"site": "x"}}}
    assert migrated(both) == {"loss": {"terms": {"main": {"site": "x"}}}}


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss.extra.gold.on=[a=b]", "loss.terms.gold.site=[a=b]"),
        ("+loss.main.weight=1", "+loss.terms.main.weight=1"),
        ("~loss.extra.gold", "~loss.terms.gold"),
        ("loss=old", "loss=new"),
        ("+loss/extra@loss.main=kl", "+loss/terms@loss.terms.main=kl"),
        ("loss.main.kind=ce", "loss.terms.main.kind=cross_entropy"),
        ("loss.extras=1", "loss.extras=1"),
        ("-m", "-m"),
    ],
)
def test_an_override_gets_the_names_of_today(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrated_overrides([old, "seed=1"]) == [new, "seed=1"]
    assert capsys.readouterr().err == (f"attnlab: {old} is now {new}\n" if old != new else "")


@pytest.mark.usefixtures("tables")
def test_parameters_get_the_names_of_today() -> None:
    assert migrated_parameters({"a.bend.0": 1, "bend": 2}) == {"a.mlp.0": 1, "bend": 2}


def test_a_command_with_old_names_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    recipes.say.cache_clear()  # other tests compose datasets without gold, too
    config, _ = load(["experiment=reviews", "dataset=files", "dataset.looks_at=text"])
    assert config.dataset.attended == "text"  # type: ignore[attr-defined]
    assert capsys.readouterr().err.splitlines() == [
        "attnlab: dataset.looks_at=text is now dataset.attended=text",
        "attnlab: objective.terms.attention and metrics.figures left out: dataset.gold is null; to "
        "give it: dataset/gold=spans | quotes | marks | scores | links | facts "
        "dataset.gold.column=COLUMN",
    ]


def with_old_names(plain: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A config as it was before each change of the table, and the changes that it shows."""
    shown = []
    for old, new in reversed(RENAMED_KEYS.items()):
        *parents, last = new.split(".")
        section: Any = plain
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if "*" in old or not isinstance(section, dict) or last not in section:
            continue
        value = section.pop(last)
        *parents, last = old.split(".")
        target = plain
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
        shown.append(old)
    return plain, shown


def test_an_old_config_is_read() -> None:
    _, plain = load(["experiment=reviews", "dataset=files"])
    old, shown = with_old_names(migrations.migrated(plain))  # a copy
    assert shown
    assert migrated(old) == plain
    assert not list(find_mistakes(migrated(old)))


def test_the_tables_change_no_name_of_today() -> None:
    """What is renamed has no second meaning, and what a pattern makes fits no pattern again."""
    _, plain = load(["experiment=dates"])
    assert migrated(plain) == plain
    for new in RENAMED_PARAMETERS.values():
        assert migrated_parameters({new: 0}) == {new: 0}


def test_the_logger_of_an_old_run_is_one_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"project": "attnlab", "tags": [], "maps_every": 1, "maps_examples": 4}
    old = {"name": "wandb", "wandb": "offline", "entity": None, **shared}
    _, plain = load([])
    config = checked(migrated(plain | {"logger": old}))
    wandb: Any = config.logger.loggers["wandb"]
    assert (wandb.kind, wandb.mode, wandb.entity) == ("wandb", "offline", None)
    assert capsys.readouterr().err.splitlines() == [
        "attnlab: logger.wandb is now logger.loggers.wandb.mode",
        "attnlab: logger.entity is now logger.loggers.wandb.entity",
    ]
    assert migrated_overrides(["logger.wandb=online"]) == ["logger.loggers.wandb.mode=online"]
