"""Runs that were made before a key of the config existed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from attnlab.config import migrations
from attnlab.config.compose import load
from attnlab.errors import ConfigError
from attnlab.stages.run import fingerprint, open_run
from attnlab.stages.run_start import resume_command, start

OVERRIDES = ["experiment=dates", "model.dim=32"]


def older(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """A run of a time when models were not tied and there was nothing to explain."""
    _, plain = load(OVERRIDES)
    del plain["model"]["tie"], plain["explain"]
    (folder / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    (folder / "status.json").write_text(json.dumps({"state": "finished", "overrides": overrides}))
    return plain


def test_what_it_does_not_say_is_as_conf_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = older(tmp_path, OVERRIDES)
    run = open_run(tmp_path)
    assert run.plain["model"] == said["model"] | {"tie": "none"}
    assert run.config.explain == load(OVERRIDES)[0].explain
    expected = f"{tmp_path}: older than model.tie, explain; read as conf/ has them\n"
    assert capsys.readouterr().err == expected


def test_what_it_says_stays(tmp_path: Path) -> None:
    older(tmp_path, ["experiment=dates", "model.dim=64"])
    assert open_run(tmp_path).plain["model"]["dim"] == 32


def test_a_run_of_a_model_that_is_no_more_is_refused(tmp_path: Path) -> None:
    older(tmp_path, ["experiment=dates", "model=none_such"])
    with pytest.raises(ConfigError, match=r"model\.tie: missing"):
        open_run(tmp_path)


def test_a_run_with_old_names_is_opened_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "RENAMED_KEYS", {"model.width": "model.dim"})
    overrides = ["experiment=dates", "model.width=32", f"paths.runs={tmp_path}"]
    config, plain = load(overrides)
    folder = tmp_path / config.name / "20200101-000000"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    old = plain | {"model": {k: v for k, v in plain["model"].items() if k != "dim"}}
    old["model"]["width"] = 32
    (folder / "config.yaml").write_text(yaml.safe_dump(old, sort_keys=False))
    status = {"state": "interrupted", "overrides": overrides, "fingerprint": fingerprint(old)}
    (folder / "status.json").write_text(json.dumps(status))
    assert open_run(folder).plain == plain
    assert start(*load([*overrides, "resume=auto"]), overrides).folder == folder
    assert "model.dim=32" in resume_command(overrides)


def test_a_run_of_a_loss_without_terms_gets_them(tmp_path: Path) -> None:
    _, plain = load(OVERRIDES)
    terms = plain["objective"].pop("terms")
    old = {key: value for key, value in terms["attention"].items() if key != "site"}
    plain["objective"] |= {"attention": old | {"on": "decoder.cross.0", "weight": 0.3}, "extra": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    (tmp_path / "status.json").write_text(json.dumps({"state": "finished", "overrides": OVERRIDES}))
    read = open_run(tmp_path).plain["objective"]["terms"]
    assert read == terms | {
        "attention": terms["attention"] | {"weight": 0.3, "site": "decoder.cross.0"}
    }
