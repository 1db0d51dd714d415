"""`attnlab sync RUN`: how to upload an offline run to W&B."""

from __future__ import annotations

import argparse
import shlex

from attnlab.errors import UserError
from attnlab.stages.run_folders import run_folder

COMMAND = "say how to upload a run to W&B"


def main(arguments: list[str]) -> None:
    """Print the commands that upload an offline run; it uploads nothing itself."""
    parser = argparse.ArgumentParser(prog="attnlab sync", description=__doc__)
    parser.add_argument("run", type=run_folder, help="folder of the run, or latest")
    folder = parser.parse_args(arguments).run
    offline = sorted(folder.glob("wandb/offline-run-*"))  # one for each resumption
    if not offline:
        raise UserError(f"{folder}: no offline W&B run in it; was it made with logger=wandb?")
    print("wandb login    # once; needs an account")
    print(shlex.join(["wandb", "sync", *map(str, offline)]))
    print(shlex.join(["attnlab", "dashboard", str(folder)]) + "    # the workspace, made once")
