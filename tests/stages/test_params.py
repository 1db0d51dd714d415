"""params.yaml: composed, checked, refused when `conf/` has moved on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from attnlab.config import compose
from attnlab.config.schema import Config
from attnlab.errors import ConfigError, UserError
from attnlab.stages import params
from tests.commands import REPOSITORY

# Groups that no stage's result depends on.
FREE = {"explain", "hparams", "logger", "paths", "resume", "stages"}


def written(folder: Path, *overrides: str) -> Path:
    path = folder / "params.yaml"
    params.main([*overrides, "--output", str(path)])
    return path


def test_what_is_written_is_the_composed_config(tmp_path: Path) -> None:
    path = written(tmp_path, "attention=dot", "seed=3")
    assert path.read_text().startswith("# attnlab params attention=dot seed=3\n")
    _, plain = compose.check(params.read(path))
    _, expected = compose.load(["attention=dot", "seed=3"])
    assert plain == expected


def test_a_strict_reader_sees_the_same(tmp_path: Path) -> None:
    """DVC reads YAML 1.2, where `on`, `yes` and `no` are words: no key may mean something else."""
    path = written(tmp_path, "objective=supervised")

    def keys(value: object) -> list[object]:
        if not isinstance(value, dict):
            return []
        return [*value, *(key for inner in value.values() for key in keys(inner))]

    assert all(isinstance(key, str) for key in keys(yaml.safe_load(path.read_text())))


def test_a_stale_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, "attention=dot")
    path.write_text(path.read_text().replace("seed: 0", "seed: 5", 1))
    with pytest.raises(UserError) as error:
        params.read(path)
    assert "stale" in str(error.value)
    assert "try: attnlab params attention=dot" in str(error.value)


def test_a_file_that_dvc_composed_is_read_and_checked(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the file without the first line."""
    path = written(tmp_path, "attention=dot")
    path.write_text(path.read_text().split("\n", 1)[1])
    config, _ = compose.check(params.read(path))
    assert config.attention.name == "dot"
    path.write_text(path.read_text() + "typo: 1\n")
    with pytest.raises(ConfigError, match="typo: unknown key"):
        compose.check(params.read(path))


def test_a_missing_file_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="try: attnlab params"):
        params.read(tmp_path / "params.yaml")


def test_a_wrong_override_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        written(tmp_path, "attention=dott")
    assert not list(tmp_path.iterdir())


def test_the_committed_file_is_up_to_date() -> None:
    params.read(REPOSITORY / "params.yaml")


def test_every_part_of_the_config_is_a_parameter_of_the_training() -> None:
    """A group that is new must not be forgotten: DVC would not train again when it changes."""
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert set(stages["train"]["params"]) == set(Config.model_fields) - FREE


def test_every_room_is_a_dependency_of_some_stage() -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    deps = {dep for stage in stages.values() for dep in stage["deps"]}
    source = REPOSITORY / "src" / "attnlab"
    rooms = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    # `attnlab align` and `attnlab.watch` are products of their own.
    apart = {"stages", "alignment", "watching"}
    for room in rooms - apart:
        assert any(dep.startswith(f"src/attnlab/{room}") for dep in deps), room


def begun(folder: Path, *overrides: str, state: str = "interrupted") -> Path:
    """A run folder as DVC's train stage leaves it."""
    words = [f"paths.run={folder / 'run'}", f"paths.prepared={folder}", *overrides]
    params.forget_stale(*compose.load(words))
    run = folder / "run"
    (run / "status.json").write_text(json.dumps({"state": state}))
    (run / "config.yaml").write_text("")
    (run / "checkpoint").write_text("some")
    return run


def test_a_run_that_was_cut_off_is_kept(tmp_path: Path) -> None:
    run = begun(tmp_path)
    params.forget_stale(*compose.load([f"paths.run={run}", f"paths.prepared={tmp_path}"]))
    assert (run / "checkpoint").is_file()


@pytest.mark.parametrize("override", ["seed=1", "attention=dot", "trainer.optimizer.lr=0.1"])
def test_a_run_of_another_config_makes_room(tmp_path: Path, override: str) -> None:
    run = begun(tmp_path)
    words = [f"paths.run={run}", f"paths.prepared={tmp_path}", override]
    params.forget_stale(*compose.load(words))
    assert os.listdir(run) == [params.MADE_FROM]  # noqa: PTH208


def test_a_run_on_other_data_makes_room(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (tmp_path / "dates-1").mkdir()
    (tmp_path / "dates-1" / "meta.json").write_text("{}")
    params.forget_stale(*compose.load([f"paths.run={run}", f"paths.prepared={tmp_path}"]))
    assert not (run / "checkpoint").exists()


def test_a_finished_run_makes_room(tmp_path: Path) -> None:
    """DVC would not start the stage if nothing had changed."""
    run = begun(tmp_path, state="finished")
    params.forget_stale(*compose.load([f"paths.run={run}", f"paths.prepared={tmp_path}"]))
    assert not (run / "checkpoint").exists()


def test_a_run_that_is_not_of_dvc_is_never_touched(tmp_path: Path) -> None:
    run = begun(tmp_path, state="finished")
    (run / params.MADE_FROM).unlink()
    params.forget_stale(*compose.load([f"paths.run={run}", f"paths.prepared={tmp_path}", "seed=1"]))
    assert (run / "checkpoint").is_file()
