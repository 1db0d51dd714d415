"""Where runs are: by their folder, as `latest`, or as a model that comes with the package."""

from __future__ import annotations

import sys
from pathlib import Path

from attnlab.config.section import config_dir
from attnlab.errors import UserError, suggest
from attnlab.stages.run_status import read_status, state_now

LATEST = "latest"  # in the place of a run's folder
ZOO = config_dir().parent / "zoo"  # trained models that come with the package, as packed runs


def find_runs(root: Path = Path("runs")) -> list[Path]:
    """The folders of all runs below a folder, the latest first."""
    # The folders of W&B and of other evaluations have a config as well, but no status.
    folders = [path.parent for path in root.rglob("status.json")]
    folders = [folder for folder in folders if (folder / "config.yaml").is_file()]

    def started(folder: Path) -> float:
        return read_status(folder).get("started") or (folder / "config.yaml").stat().st_mtime

    return sorted(folders, key=started, reverse=True)


def run_folder(name: str | Path, *, trained: bool = True, beside: Path | None = None) -> Path:
    """The folder of a run: a path, `zoo/NAME`, or `latest` for the run that was started last.

    Args:
        name: of the folder.
        trained: `latest` passes over runs without a checkpoint, which have no model, and says so;
            where no run has one, it is the one that was started last.
        beside: a run that `latest` does not mean: the one that asks.
    """
    path = Path(name)
    if path.parts[:1] == (ZOO.name,) and len(path.parts) == 2 and not path.exists():
        return ZOO / path.name
    if str(name) != LATEST:
        return path
    folders = [f for f in find_runs() if beside is None or f.resolve() != beside.resolve()]
    if not folders:
        raise UserError("latest: no runs below runs/; try: python train.py")
    if not trained or _is_trained(folders[0]):
        return folders[0]
    found = next((folder for folder in folders if _is_trained(folder)), None)
    if found is None:
        return folders[0]
    newest = f"{folders[0]} ({state_now(folders[0])})"
    print(f"{LATEST}: {found}; nothing was trained in {newest}", file=sys.stderr)
    return found


def _is_trained(folder: Path) -> bool:
    return any(folder.glob("checkpoints/*.ckpt"))


def zoo_models() -> list[Path]:
    """The folders of the models that come with the package."""
    return sorted(path.parent for path in ZOO.glob("*/config.yaml"))


def is_of_zoo(folder: Path) -> bool:
    """Whether a run's folder is one of the package's own."""
    return folder.resolve().parent == ZOO.resolve()


def existing_run(name: str | Path, *, trained: bool = True) -> Path:
    """The same; raises a `UserError` where there is no run, with one that is spelt like it."""
    folder = run_folder(name, trained=trained)
    if not (folder / "config.yaml").is_file():
        if folder.parent == ZOO:
            models = [f"{ZOO.name}/{path.name}" for path in zoo_models()]
            raise UserError(f"{name}: no such model; {suggest(str(name), models)}")
        near = [str(p.parent) for p in Path("runs").glob("*/*/config.yaml")]
        hint = suggest(str(folder), near) or "try: attnlab runs --below FOLDER"
        raise UserError(f"{folder}: not a run's folder; {hint}")
    return folder
