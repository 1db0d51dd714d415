"""`attnlab new NAME`: a project of your own that uses attnlab as an installed package.

It holds an example table, its dataset and experiment, a score of its own and a DVC pipeline. What
is in it is run by the tests of attnlab, and is yours to change.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from pathlib import Path

from attnlab.config.section import config_dir
from attnlab.errors import UserError
from attnlab.stages import params
from attnlab.text_files import write_whole

COMMAND = "begin a project of your own: config, plugin, data and pipeline"
TEMPLATE = config_dir().parent / "project_template"
CONFIG = ["--config-dir", "conf", "experiment=mails"]


def main(arguments: list[str]) -> None:
    """Write the project, and print what to do next."""
    parser = argparse.ArgumentParser(
        prog="attnlab new",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where it goes; may exist if it is empty")
    folder = parser.parse_args(arguments).folder
    create(folder)
    begin = shlex.join(["attnlab", "train", *CONFIG])
    print(f"{folder}\n  try: cd {shlex.quote(str(folder))} && {begin}")


def create(folder: Path) -> None:
    """Write the project into a new or empty folder.

    Raises:
        UserError: there is something in the folder already; nothing is written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already, and not empty; try: another name")
    shutil.copytree(
        TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "gitignore").rename(folder / ".gitignore")
    readme = folder / "README.md"
    title = folder.resolve().name
    write_whole(readme, readme.read_text(encoding="utf-8").replace("# NAME", f"# {title}", 1))
    before = Path.cwd()
    os.chdir(folder)  # the config names its folders from here
    try:
        params.main(CONFIG)
    finally:
        os.chdir(before)
