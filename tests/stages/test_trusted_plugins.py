"""No module is imported because a run's folder names it, unless the user has trusted its files."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import attnlab
from attnlab.cli import main
from attnlab.config import section
from attnlab.config.compose import load
from attnlab.data.integrity import dependencies
from attnlab.errors import UserError
from attnlab.stages import explain, trusted_plugins
from attnlab.stages.run import open_run
from attnlab.stages.run_start import start
from tests.commands import small

PAYLOAD = "from pathlib import Path\nPath('ran').touch()\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the command; the user has trusted nothing, and nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTNLAB_HOME", str(tmp_path / "settings"))
    monkeypatch.setattr(section, "_plugins", set())
    path = list(sys.path)
    importlib.invalidate_caches()
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__spec__", "")):
            del sys.modules[name]


def received(folder: Path, *plugins: str, **status: Any) -> Path:
    """A run whose config names these plugins, as somebody may send it."""
    _, plain = load(["logger=files"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain | {"plugins": list(plugins)}))
    (folder / "status.json").write_text(json.dumps({"state": "finished", **status}))
    return folder


def trained(here: Path, *plugins: str) -> Path:
    """The folder of a run of this user with plugins, just started."""
    words = small(here, f"paths.run={here / 'own'}", f"plugins=[{','.join(plugins)}]")
    return start(*load(words), words).folder


def forgotten(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As in a process of its own."""
    monkeypatch.setattr(section, "_plugins", set())
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.mark.parametrize("command", ["report", "evaluate", "predict", "explain", "dashboard"])
def test_no_command_imports_the_plugins_of_a_run(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = received(Path("runs/shared/demo"), "runs.shared.demo.payload")
    (run / "payload.py").write_text(PAYLOAD)
    assert main([command, str(run)]) == 2
    line, next_step = capsys.readouterr().err.splitlines()
    assert line == (
        f"attnlab: {run}: its config names the plugin 'runs.shared.demo.payload' "
        f"({here / run / 'payload.py'}) that you have not trained with on this machine; "
        "it is not imported"
    )
    assert next_step == (
        "  try: read it, then add --trust, or plugins=[runs.shared.demo.payload] to a command of "
        "train.py"
    )
    assert not Path("ran").exists()
    assert str(here) not in sys.path


@pytest.mark.parametrize("where", ["payload", "around.payload", "deep.around.payload"])
def test_packages_around_a_plugin_are_not_imported(where: str, here: Path) -> None:
    """`find_spec("a.b")` would import `a`."""
    path = here.joinpath(*where.split("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in path.relative_to(here).parents:
        if folder != Path():
            (here / folder / "__init__.py").write_text(PAYLOAD)
    path.with_suffix(".py").write_text(PAYLOAD)
    with pytest.raises(UserError, match="not imported"):
        attnlab.load(received(here / "run", where))
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["no_such_module", "antigravity", "math", "..up", "", "a/b"])
def test_other_modules_are_not_imported_either(name: str, here: Path) -> None:
    run = received(here / "run", name)
    with pytest.raises(UserError, match="not imported"):
        open_run(run)
    assert "antigravity" not in sys.modules


def test_a_teacher_or_a_run_to_go_on_with_is_a_run_as_well(here: Path) -> None:
    (here / "payload.py").write_text(PAYLOAD)
    run = received(here / "run", "payload")
    words = small(here, f"resume={run}")
    with pytest.raises(UserError, match="not imported"):
        start(*load(words), words)
    assert not Path("ran").exists()


def test_what_the_command_names_is_imported(here: Path) -> None:
    (here / "payload.py").write_text(PAYLOAD)
    run = received(here / "run", "payload")
    load(["plugins=[payload]"])
    assert open_run(run).plain["plugins"] == ["payload"]
    assert Path("ran").exists()


def test_what_the_user_trained_with_is_imported_until_it_changes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "__init__.py").touch()
    (here / "mine" / "helper.py").write_text("value = 1\n")
    (here / "mine" / "plugin.py").write_text(f"from mine import helper\n{PAYLOAD}")
    run = trained(here, "mine.plugin")
    names = ("mine", "mine.plugin", "mine.helper")
    listed = (here / "settings" / "trusted_plugins.txt").read_text().splitlines()
    assert [line.split("  ")[1] for line in listed] == [
        str(here / "mine" / name) for name in ("__init__.py", "helper.py", "plugin.py")
    ]
    forgotten(monkeypatch, *names)
    Path("ran").unlink()
    assert open_run(run).config.plugins == ["mine.plugin"]
    assert Path("ran").exists()
    assert capsys.readouterr().err == ""
    for changed in names:
        path = here / "mine" / f"{'__init__' if changed == 'mine' else changed[5:]}.py"
        before = path.read_text()
        path.write_text(f"{before}# changed\n")
        forgotten(monkeypatch, *names)
        with pytest.raises(UserError, match="which has changed since, that you have not trained"):
            open_run(run)
        path.write_text(before)


def test_trust_lasts_and_is_told_of_changes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "payload.py").write_text(PAYLOAD)
    run = received(here / "run", "payload", plugins={"payload": "0" * 64})
    assert attnlab.load(run, trust=True).config.plugins == ["payload"]
    assert Path("ran").exists()
    forgotten(monkeypatch, "payload")
    open_run(run)
    message = f"{run}: plugin 'payload' has changed since this run\n"
    assert capsys.readouterr().err == 2 * message


def test_a_list_that_others_can_write_to_is_not_used(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "payload.py").touch()
    run = trained(here, "payload")
    forgotten(monkeypatch, "payload")
    (here / "settings" / "trusted_plugins.txt").chmod(0o666)
    with pytest.raises(UserError, match="not imported"):
        open_run(run)
    assert "not used, others can write to it; try: chmod 600" in capsys.readouterr().err


def test_a_list_that_cannot_be_written_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "payload.py").touch()
    monkeypatch.setenv("ATTNLAB_HOME", "/dev/null/nowhere")
    trained(here, "payload")
    assert "runs with them will ask for --trust" in capsys.readouterr().err


def test_settings_of_explain_import_nothing(here: Path) -> None:
    run = open_run(received(here / "run"))
    (here / "payload.py").write_text(PAYLOAD)
    run.plain["plugins"] = ["payload"]
    explain.with_settings(run, ["examples=3"])
    assert not Path("ran").exists()


def test_the_file_that_is_hashed_is_the_one_that_is_imported(here: Path) -> None:
    """A package comes before a module of its name; a compiled module before both."""
    (here / "mine.py").touch()
    assert trusted_plugins.files_of("mine") == [here / "mine.py"]
    (here / "mine").mkdir()
    (here / "mine" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert trusted_plugins.files_of("mine") == [here / "mine" / "__init__.py"]
    (here / "mine" / "__init__.so").touch()
    assert trusted_plugins.files_of("mine") == []


def test_a_folder_without_init_is_followed(here: Path) -> None:
    (here / "space").mkdir()
    (here / "space" / "one.py").write_text("import space.two\n")
    (here / "space" / "two.py").touch()
    with trusted_plugins._here_first():
        found = dependencies(["space.one"], without=("attnlab",))
    assert list(found) == ["space.one", "space.two"]


def test_no_file_is_a_plugin_that_cannot_be_read(here: Path) -> None:
    (here / "broken.py").write_text("x = (")
    assert trusted_plugins.files_of("broken") == []
    assert trusted_plugins.hash_of("broken") == ""
