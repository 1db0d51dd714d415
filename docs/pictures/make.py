"""Pictures of the explorer for the documentation: docs/pictures/explorer_*.png.

    python docs/pictures/make.py              train small runs, then take the pictures
    python docs/pictures/make.py text image   some of them only
    python docs/pictures/make.py --home DIR   of runs that are in DIR/runs already, or will be

It needs Chromium on the path. Each picture is of a real run that was trained for a minute or less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from attnlab.report.page import QUIET, browser

PICTURES = Path(__file__).resolve().parent
TRAIN = PICTURES.parents[1] / "train.py"
WIDTH = 1280


@dataclass(frozen=True)
class Picture:
    """What is trained, and what of its page is shown."""

    settings: tuple[str, ...]
    shown: str  # fragment of the page's address
    height: int


# Scripts that a plain Chromium has letters for.
LOCALES = "cs,de,el,en,es,fi,fr,hu,it,nl,pl,pt,ru,sv,tr,vi"
EXPLORER = {
    "text": Picture(("experiment=reviews", "objective=unsupervised"), "sort=surprise", 1060),
    "alignment": Picture(
        (
            "experiment=dates",
            "model=transformer",
            "attention=multihead",
            f"dataset.locales=[{LOCALES}]",
            "trainer.max_epochs=3",
        ),
        "sort=long",
        1560,
    ),
    "image": Picture(("experiment=canvas_attend", "trainer.max_epochs=4"), "sort=order", 1150),
    "audio": Picture(("experiment=tones", "trainer.max_epochs=6"), "sort=long", 1120),
}


def trained(name: str, home: Path) -> Path:
    """The page of a run with this picture's settings; trained now unless it is there."""
    experiment = EXPLORER[name].settings[0].partition("=")[2]
    runs = home / "runs" / experiment
    if not list(runs.glob("*/report.html")):
        settings = [*EXPLORER[name].settings, f"name={experiment}", "logger=files"]
        command = [sys.executable, str(TRAIN), *settings, "trainer.progress=false"]
        subprocess.run(command, cwd=home, check=True, stdout=subprocess.DEVNULL)
    run = max(path.parent for path in runs.glob("*/report.html"))
    command = [sys.executable, "-m", "attnlab", "report", str(run.relative_to(home))]
    subprocess.run(command, cwd=home, check=True, stdout=subprocess.DEVNULL)
    return run / "report.html"


def taken(name: str, page: Path) -> Path:
    """The picture of a page as Chromium shows it."""
    program = browser()
    if program is None:
        raise SystemExit("needs chromium on the path")
    picture, path = EXPLORER[name], PICTURES / f"explorer_{name}.png"
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, *QUIET, f"--user-data-dir={profile}", "--hide-scrollbars",
            "--virtual-time-budget=10000", f"--window-size={WIDTH},{picture.height}",
            f"--screenshot={path}", f"{page.absolute().as_uri()}#{picture.shown}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pictures", nargs="*", help="all by default")
    parser.add_argument("--home", type=Path, help="where runs are looked for, and left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.pictures or EXPLORER:
            print(taken(name, trained(name, options.home or Path(folder))))


if __name__ == "__main__":
    main()
