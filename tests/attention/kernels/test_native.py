"""The compiled kernel is kept, and nothing is loaded that this user did not compile."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnlab.attention.kernels import native

COMPILER = shutil.which("cc") or ""
pytestmark = pytest.mark.skipif(native.library() is None, reason="there is no C compiler")
PLANTED = """
#include <stdio.h>
__attribute__((constructor)) static void ran(void) {{ fclose(fopen("{}", "w")); }}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library, compiled once."""
    return native._compiled(COMPILER, tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache folder of this test, not made yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "attnlab"
    native.library.cache_clear()


@pytest.fixture
def kept(folder: Path, made: Path) -> Path:
    """The library in the cache folder."""
    folder.mkdir(mode=0o700)
    return Path(shutil.copy(made, folder))


@pytest.fixture
def compiled_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that a library was compiled into; it is copied instead."""
    folders: list[Path] = []

    def copy(compiler: str, folder: Path) -> Path:
        folders.append(folder)
        return Path(shutil.copy(made, folder))

    monkeypatch.setattr(native, "_compiled", copy)
    return folders


def planted(path: Path, witness: Path) -> None:
    """A library that leaves a file when it is loaded."""
    source = PLANTED.format(witness).encode()
    command = [COMPILER, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=source, check=True)


def test_it_is_compiled_once_into_a_folder_of_the_user_alone(folder: Path) -> None:
    assert native.library() is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    (made,) = folder.iterdir()
    written = made.stat().st_mtime_ns
    native.library.cache_clear()
    assert native.library() is not None
    assert made.stat().st_mtime_ns == written


def test_finding_it_takes_no_time(kept: Path, compiled_again: list[Path]) -> None:
    began = time.perf_counter()
    assert native._kept(COMPILER, kept.parent) == kept
    assert time.perf_counter() - began < 0.05  # 1 ms where nothing else runs
    assert native.library() is not None
    assert not compiled_again


@pytest.mark.parametrize("damage", ["half", "garbage", "a bit", "nothing"])
def test_a_damaged_one_is_compiled_again(
    damage: str, kept: Path, made: Path, compiled_again: list[Path]
) -> None:
    whole = made.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    contents = {"half": whole[:middle], "garbage": b"x" * 9000, "a bit": flipped, "nothing": b""}
    kept.write_bytes(contents[damage])
    assert native.library() is not None
    assert compiled_again == [kept.parent]
    assert kept.read_bytes() == whole


def test_one_under_the_name_of_another_is_not_loaded(
    kept: Path, compiled_again: list[Path], tmp_path: Path
) -> None:
    planted(kept, tmp_path / "ran")
    assert native.library() is not None
    assert compiled_again
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_that_others_could_write_to_is_emptied_and_closed(
    mode: int, kept: Path, compiled_again: list[Path], tmp_path: Path
) -> None:
    planted(tmp_path / "planted.so", tmp_path / "ran")
    name = native._named(COMPILER, tmp_path / "planted.so")
    (tmp_path / "planted.so").rename(kept.with_name(name))  # with a hash that is right
    kept.parent.chmod(mode)
    assert native.library() is not None
    assert compiled_again
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_others_could_read_is_closed(kept: Path, compiled_again: list[Path]) -> None:
    kept.parent.chmod(0o755)
    assert native.library() is not None
    assert not compiled_again
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_to_elsewhere_is_not_followed(
    kept: Path, made: Path, compiled_again: list[Path]
) -> None:
    kept.unlink()
    kept.symlink_to(made)
    assert native.library() is not None
    assert compiled_again
    assert not kept.is_symlink()


def test_the_folder_of_another_user_is_not_used(
    kept: Path,
    compiled_again: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert native.library() is not None
    (folder,) = compiled_again
    assert folder != kept.parent
    assert not folder.exists()
    line = f"{kept.parent}: not closed to other users; the kernel is compiled anew in each process"
    assert capsys.readouterr().err == f"{line}\n"


def test_one_that_crashes_or_is_wrong_does_not_work(tmp_path: Path, made: Path) -> None:
    assert native.works(made)
    (tmp_path / "garbage.so").write_bytes(b"x" * 9000)
    assert not native.works(tmp_path / "garbage.so")
    (tmp_path / "half.so").write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    assert not native.works(tmp_path / "half.so")  # a bus error, in the child
    planted(tmp_path / "other.so", tmp_path / "ran")
    assert not native.works(tmp_path / "other.so")


def test_where_none_works_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "works", lambda path: False)
    monkeypatch.setattr(native, "TUNED", ([],))
    assert native.library() is None
    assert not list(folder.iterdir())


def test_what_is_loaded_is_a_library(kept: Path) -> None:
    found = native.library()
    assert isinstance(found, ctypes.CDLL)
    assert found._name == str(kept)
