"""The figures of a page as SVG and PNG files, as the buttons of the page save them.

With Chromium the page draws them itself (`page.html#export=8` puts them into its document). Where
there is none, matplotlib draws the maps.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from attnlab.errors import RunError
from attnlab.report.examples import ShownExample
from attnlab.report.map_pictures import draw_map

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 120
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def browser() -> str | None:
    """The path of Chromium on this machine, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def export(
    page: Path, examples: Sequence[ShownExample], folder: Path, count: int = 8
) -> list[Path]:
    """SVG and PNG of every figure of the page, with the maps of the first `count` examples."""
    folder.mkdir(parents=True, exist_ok=True)
    program = browser()
    if program is None:
        return _by_matplotlib(examples[:count], folder)
    return _by_page(program, page, folder, count)


def _by_page(program: str, page: Path, folder: Path, count: int) -> list[Path]:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=60000",
            "--dump-dom", f"{page.absolute().as_uri()}#export={count}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    match = re.search(r'<pre id="exported"[^>]*>(.*?)</pre>', done.stdout, re.DOTALL)
    if not match:
        raise RunError(f"{program}: drew nothing from {page} (exit code {done.returncode})")
    written: list[Path] = []
    for name, picture in json.loads(unescape(match[1])).items():
        svg, png = folder / f"{name}.svg", folder / f"{name}.png"
        svg.write_text(picture["svg"], encoding="utf-8")
        png.write_bytes(base64.b64decode(picture["png"].partition(",")[2]))
        written += [svg, png]
    return written


def _by_matplotlib(examples: Sequence[ShownExample], folder: Path) -> list[Path]:
    written = [folder / f"{e.id}.{kind}" for e in examples for kind in ("svg", "png")]
    for example in examples:
        figure = draw_map(example)
        for kind in ("svg", "png"):
            figure.savefig(folder / f"{example.id}.{kind}", dpi=200)
    return written
