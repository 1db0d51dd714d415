"""`attnlab params`: the composed config as params.yaml, where `dvc repro` reads it.

`dvc exp run -S attention=dot` composes by itself; `dvc repro` does not, so the composed config is
a file under version control. Its first line says which overrides made it: a file that no longer
says what `conf/` says is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from attnlab.config import compose
from attnlab.config.schema import Config
from attnlab.errors import UserError
from attnlab.stages import run_lock
from attnlab.stages.run import Run, fingerprint
from attnlab.text_files import read_json, read_yaml, write_whole
from attnlab.training.distributed import is_first_process

COMMAND = "write params.yaml, which `dvc repro` reads"

HEADER = "# attnlab params"
MADE_FROM = "made_from.json"


def main(arguments: list[str]) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="attnlab params", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as for train.py: attention=dot seed=1")
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of yours with choices")
    parser.add_argument("--output", type=Path, default=Path("params.yaml"))
    options = parser.parse_intermixed_args(arguments)
    words = list(options.overrides)
    words = [f"--config-dir={options.config_dir}", *words] if options.config_dir else words
    compose.load(compose.with_search_path(words))
    write_whole(options.output, _content(words))
    print(options.output)


def read(path: Path) -> DictConfig:
    """The config of the file; a `UserError` if `conf/` has moved on since it was written."""
    if not path.is_file():
        raise UserError(f"{path}: missing; try: attnlab params --output {path}")
    plain = read_yaml(path, f"attnlab params --output {path}")
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0] if text else ""
    overrides = shlex.split(first.removeprefix(HEADER))
    # DVC writes the file itself in `dvc exp run`, freshly composed and without our first line.
    if first.startswith(HEADER) and text != _content(overrides):
        raise UserError(
            f"{path}: stale, conf/ says something else now"
            f"\n  try: {shlex.join(['attnlab', 'params', *overrides])}"
        )
    return OmegaConf.create(plain)


def forget_stale(config: Config, plain: dict[str, Any]) -> None:
    """Make room in DVC's run folder, unless what is there is the beginning of this very run.

    DVC starts a stage because something changed, so a run that ended, or that began with another
    config, other code or other data, is of no use. One that was cut off goes on.
    """
    if not is_first_process():
        return
    folder = Path(config.paths.run or "")
    marker, run = folder / MADE_FROM, Run(folder, config, plain)
    made_from = {"config": fingerprint(plain), "code": _code(), "data": _data(config)}
    before = read_json(marker, f"rm -r {folder}") if marker.is_file() else {}
    ended = run.status.get("state") == "finished"
    if marker.is_file() and (ended or before != made_from):
        run_lock.acquire(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(marker, json.dumps(made_from, indent=2) + "\n")


def _code() -> str:
    """Hash of the package's source."""
    package = Path(__file__).resolve().parents[1]
    return _hash(package.rglob("*.py"))


def _data(config: Config) -> str:
    """Hash of what the prepare stage says it wrote."""
    return _hash(Path(config.paths.prepared).glob("*/meta.json"))


def _hash(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:12]


def _content(words: list[str]) -> str:
    config = compose.compose(compose.with_search_path(words))
    return f"{HEADER} {shlex.join(words)}".rstrip() + f"\n{OmegaConf.to_yaml(config, resolve=True)}"
