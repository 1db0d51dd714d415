"""docs/first_day.sh, with the built wheel in an environment of its own, away from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, environment, run

SCRIPT = REPOSITORY / "docs" / "first_day.sh"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    built = run([*pip, str(REPOSITORY)])
    assert built.returncode == 0, built.stderr[-2000:]
    return next(folder.glob("attnlab-*.whl"))


def clean_environment(folder: Path) -> Path:
    """A new environment that finds the packages that attnlab needs, and nothing of the checkout.

    Those installed here are on its path, after its own; their .pth files, of which one leads to
    the checkout, are not read.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (own,) = folder.glob("lib/python3*/site-packages")
    (own / "needed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_works_with_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    programs = clean_environment(tmp_path / "env")
    variables = environment() | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": "",
    }
    place = tmp_path / "a first day"
    place.mkdir()
    where = [str(programs / "python"), "-c", "import attnlab; print(attnlab.__file__)"]
    command = ["bash", str(SCRIPT), str(wheel)]
    options = {"capture_output": True, "text": True, "cwd": place, "env": variables}
    done = subprocess.run(command, **options, check=False)  # type: ignore[call-overload]
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = subprocess.run(where, **options, check=True).stdout  # type: ignore[call-overload]
    assert found.startswith(str(tmp_path / "env")), "the checkout was used"
    assert '"answer": "2021-05-03"' in done.stdout
    first = re.search(r"# first prediction (\d+) s after", done.stdout)
    assert first is not None
    assert int(first[1]) <= 60
    assert '"answer": "delivery"' in done.stdout
    (whole,) = re.findall(r"# (\d+) s in all", done.stdout)
    print(f"{whole} s in all")
    assert list((place / "figures").glob("*.svg"))
    assert list(place.glob("runs/leaderboards/*/leaderboard.html"))
    assert (place / "my_project" / "runs").is_dir()
