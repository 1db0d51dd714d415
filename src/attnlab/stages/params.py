"""`attnlab params`: the composed config as params.yaml, where `dvc repro` reads it.

`dvc exp run -S attention=dot` composes by itself; `dvc repro` does not, so the composed config is
a file under version control. Its first line says which overrides made it: a file that no longer
says what `conf/` says is refused.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from attnlab.config import compose
from attnlab.errors import UserError

HEADER = "# attnlab params"


def main(arguments: list[str]) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="attnlab params", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as for train.py: attention=dot seed=1")
    parser.add_argument("--output", type=Path, default=Path("params.yaml"))
    options = parser.parse_args(arguments)
    compose.load(options.overrides)
    options.output.write_text(_content(options.overrides), encoding="utf-8")
    print(options.output)


def read(path: Path) -> DictConfig:
    """The config of the file; a `UserError` if `conf/` has moved on since it was written."""
    if not path.is_file():
        raise UserError(f"{path}: missing; try: attnlab params --output {path}")
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0] if text else ""
    overrides = shlex.split(first.removeprefix(HEADER))
    # DVC writes the file itself in `dvc exp run`, freshly composed and without our first line.
    if first.startswith(HEADER) and text != _content(overrides):
        raise UserError(
            f"{path}: stale, conf/ says something else now"
            f"\n  try: {shlex.join(['attnlab', 'params', *overrides])}"
        )
    loaded = OmegaConf.load(path)
    assert isinstance(loaded, DictConfig)
    return loaded


def _content(overrides: list[str]) -> str:
    composed = OmegaConf.to_yaml(compose.compose(overrides), resolve=True)
    return f"{HEADER} {shlex.join(overrides)}".rstrip() + f"\n{composed}"
