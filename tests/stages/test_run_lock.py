"""One process at a time trains in a folder, and one that was killed does not hold it."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnlab.config import compose
from attnlab.errors import RunError, UserError
from attnlab.stages import params, run_lock
from attnlab.stages.run_start import start
from tests.commands import small
from tests.faults.trials import attempt

# Takes the lock, says so, and keeps it until it is killed; with a child, which inherits it.
HOLD = """
import os, sys, time
from pathlib import Path
from attnlab.stages import run_lock
run_lock.acquire(Path(sys.argv[1]))
if sys.argv[2:] and os.fork() == 0:
    time.sleep(1)
    os._exit(0)
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    folder.mkdir()
    yield folder
    run_lock.release(folder)


def held(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_lock_says_whose_it_is_and_is_gone_afterwards(folder: Path) -> None:
    run_lock.acquire(folder)
    run_lock.acquire(folder)  # once more: the same process has it already
    content = json.loads((folder / "lock.json").read_text())
    assert content.keys() == {"pid", "host", "process", "since"}
    assert content["pid"] == os.getpid()
    found = run_lock.owner(folder)
    assert found is not None
    assert not found.is_gone()
    run_lock.release(folder)
    assert not list(folder.iterdir())
    assert run_lock.owner(folder) is None


def test_another_process_is_refused_in_one_line_until_the_owner_is_killed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = held(folder)
    try:
        with pytest.raises(UserError) as caught:
            run_lock.acquire(folder)
        assert str(caught.value).startswith(f"{folder}: in use by process {process.pid} on ")
        assert str(caught.value).endswith("; try: wait for it, or another folder")
        found = run_lock.owner(folder)
        assert found is not None
        assert found.pid == process.pid
    finally:
        killed(process)
    assert run_lock.owner(folder) is None
    run_lock.acquire(folder)
    assert run_lock.holds(folder)
    said = capsys.readouterr().err
    assert said.startswith(f"{folder}: taken over from process {process.pid} on ")
    assert said.endswith("is gone\n")


def test_a_lock_that_cannot_be_written_is_free_again(folder: Path, tmp_path: Path) -> None:
    def on_a_full_disk() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        with pytest.raises(OSError) as caught:
            run_lock.acquire(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        run_lock.acquire(folder)
        assert caught.value.errno == errno.EFBIG
        assert run_lock.holds(folder)

    done = attempt(on_a_full_disk, tmp_path)
    assert done.code == 0, done.printed


def test_children_of_a_killed_owner_are_waited_for(folder: Path) -> None:
    killed(held(folder, "with a child"))
    run_lock.acquire(folder)
    assert run_lock.holds(folder)


@pytest.mark.parametrize(
    "content",
    [
        {"pid": 1, "host": "elsewhere", "process": "x", "since": "2001-01-01 00:00:00"},
        {"pid": os.getpid() - 1, "host": "", "process": "", "since": ""},
        {"pid": "x"},
        [],
    ],
)
def test_a_lock_file_that_nobody_holds_is_taken_over(content: object, folder: Path) -> None:
    (folder / "lock.json").write_text(json.dumps(content))
    assert run_lock.owner(folder) is None
    run_lock.acquire(folder)
    assert json.loads((folder / "lock.json").read_text())["pid"] == os.getpid()


def test_another_process_with_the_same_pid_is_not_the_owner() -> None:
    own = run_lock.Owner.this()
    assert not own.is_gone()
    assert run_lock.Owner(own.pid, own.host, "another start", own.since).is_gone()
    assert not run_lock.Owner(own.pid, "elsewhere", "another start", own.since).is_gone()


@pytest.mark.parametrize("again", [["resume=auto"], []])
def test_a_second_run_in_the_folder_changes_nothing(again: list[str], folder: Path) -> None:
    words = small(folder.parent, f"paths.run={folder}")
    config, plain = compose.load(words)
    start(config, plain, words)
    run_lock.release(folder)
    process = held(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    config, plain = compose.load([*words, *again, "trainer.max_epochs=9"])
    try:
        with pytest.raises(UserError):
            start(config, plain, words)
    finally:
        killed(process)
    assert before == {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_dvc_does_not_delete_a_run_that_goes_on(folder: Path) -> None:
    config, plain = compose.load(small(folder.parent, f"paths.run={folder}"))
    (folder / "made_from.json").write_text("{}")
    process = held(folder)
    try:
        with pytest.raises(UserError, match="in use by process"):
            params.forget_stale(config, plain)
    finally:
        killed(process)
    assert folder.exists()


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    config, plain = compose.load(small(tmp_path))
    folders = [start(config, plain, []).folder for _ in range(3)]
    assert len(set(folders)) == 3
    for each in folders:
        run_lock.release(each)


def test_a_run_whose_folder_is_deleted_has_failed(tmp_path: Path) -> None:
    config, plain = compose.load(small(tmp_path, f"paths.run={tmp_path / 'run'}"))
    run = start(config, plain, [])
    with pytest.raises(RunError, match="deleted, or another run is in it"), run.tracked():
        shutil.rmtree(run.folder)
    assert not run.folder.exists()


def test_a_run_that_ends_frees_its_folder(tmp_path: Path) -> None:
    config, plain = compose.load(small(tmp_path, f"paths.run={tmp_path / 'run'}"))
    run = start(config, plain, [])
    with run.tracked():
        assert run_lock.holds(run.folder)
    assert not (run.folder / "lock.json").exists()
    assert run.status["state"] == "finished"
