"""A disk that is full from any write on: one line, the right state, and the next command goes on.

The disk is a real one, mounted for the trial alone and filled to its last byte as the write begins.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.stages.run_status import read_status
from tests.faults.test_kills import SHORT, evaluation, results, training, writes_of
from tests.faults.trials import attempt, can_mount, count, fill, sample, small_disk
from tests.faults.writes import Act, on_writes
from tests.training.test_resume_exactly import assert_equal_runs

TABLE = "full disks"
SIZE = 16 << 20
SECONDS = 120
TOLD = ("No space left on device", "the disk is full")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a trial mounts a disk."""
    if not can_mount(tmp_path):
        pytest.skip("needs the right to mount a disk")
    return tmp_path / "disk"


def full_from(number: int, disk: Path) -> Act:
    """What fills the disk at the write of this number."""
    seen = 0

    def act(path: Path, flags: int) -> None:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            fill(disk)

    return act


def swept(
    stage: str,
    words: Callable[[Path], list[str]],
    states: tuple[str, ...],
    before: Path,
    disk: Path,
    check: Callable[[Path], None],
    least: int,
) -> None:
    """Fill the disk at each write of a command, make room, and give the command again."""
    whole = shutil.copytree(before, disk.parent / "counted", dirs_exist_ok=True)
    writes = writes_of(lambda: main(words(whole)), whole)
    failures = []
    for number in sample(range(len(writes)), least):

        def on_a_small_disk(number: int = number) -> int:
            small_disk(disk, SIZE)
            shutil.copytree(before, disk, dirs_exist_ok=True)
            on_writes(disk, full_from(number, disk))
            code = main(words(disk))
            state = read_status(disk / "run").get("state")
            print(f"\nended: {code} {state}")
            (disk / "filler").unlink()
            assert main(words(disk)) == 0
            check(disk)
            return 0

        done = attempt(on_a_small_disk, disk.parent, SECONDS)
        first, _, rest = done.printed.partition("\nended: ")
        code, _, state = rest.partition("\n")[0].partition(" ")
        message = first[first.rindex("attnlab: ") :] if "attnlab: " in first else first
        reported = code in ("1", "2") and any(line in message for line in TOLD) and state in states
        fits = code == "0" and state == "finished"  # the last bytes were written before
        right = done.code == 0 and (reported or fits) and "Traceback" not in done.printed
        failures += [] if right else [f"write {number}: {done.code} {done.printed}"]
        column = "one line, right state" if reported else "all was written" if fits else "wrong"
        count(TABLE, stage, column)
        count(TABLE, stage, "then the same, bit for bit" if done.code == 0 else "then differs")
    assert not failures, "\n\n".join(failures)


def train_words(folder: Path) -> list[str]:
    places = [f"paths.run={folder / 'run'}", f"paths.prepared={folder / 'prepared'}"]
    return ["train", *SHORT, *places, "resume=auto"]


@pytest.mark.slow
@pytest.mark.timeout(10_800)
def test_training(tmp_path: Path, disk: Path) -> None:
    whole, empty = tmp_path / "whole", tmp_path / "empty"
    whole.mkdir()
    empty.mkdir()
    assert attempt(training(whole), whole, SECONDS).code == 0

    def check(folder: Path) -> None:
        assert_equal_runs(folder / "run", whole / "run")

    swept("train", train_words, ("failed", "None"), empty, disk, check, 2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    assert attempt(training(folder), folder, SECONDS).code == 0
    return folder


@pytest.mark.slow
@pytest.mark.timeout(10_800)
def test_evaluation(trained: Path, tmp_path: Path, disk: Path) -> None:
    whole = shutil.copytree(trained, tmp_path / "whole")
    assert attempt(evaluation(whole), whole, SECONDS).code == 0

    def check(folder: Path) -> None:
        assert results(folder) == results(whole)

    def words(folder: Path) -> list[str]:
        return ["evaluate", str(folder / "run")]

    swept("evaluate", words, ("finished",), trained, disk, check, 2)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
def test_report(trained: Path, tmp_path: Path, disk: Path) -> None:
    whole = shutil.copytree(trained, tmp_path / "whole")
    assert attempt(evaluation(whole), whole, SECONDS).code == 0

    def check(folder: Path) -> None:
        assert (folder / "run" / "report.html").read_bytes().endswith(b"</html>\n")

    def words(folder: Path) -> list[str]:
        return ["report", str(folder / "run")]

    swept("report", words, ("finished",), whole, disk, check, 2)
