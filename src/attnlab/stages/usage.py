"""What `python train.py --help` shows: ways to call it, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnlab.config.compose import config_dir

EXAMPLES = """attnlab: swap the attention, predict the attention, check the attention.

  python train.py                                      the default experiment
  python train.py attention=dot model=transformer      other choices
  python train.py trainer.max_epochs=5 seed=1          other values
  python train.py -m attention=additive,dot seed=0,1   a sweep, one process a job
  python train.py --cfg job                            every key with its value
  python train.py resume=auto                          go on where a run was stopped

Groups and their choices (group=choice):
"""
FLAGS = """
--help, -h                 this text
--cfg, -c job              print the config instead of running; hydra and all print more
--package, -p KEY          with --cfg: only what stands below the key
--resolve                  with --cfg: values in the place of references
--multirun, -m             a job for each combination of the values given
--info, -i                 what Hydra found and where: all, config, defaults, searchpath ...
--config-dir, -cd FOLDER   a folder of yours with more choices
--hydra-help               Hydra's own flags
--shell-completion, -sc    eval "$(python train.py -sc install=bash)"; also fish and zsh
"""


def usage() -> str:
    """The whole text. Hydra's own takes over a second: it composes each group to list it."""
    return "\n".join([EXAMPLES, *_groups(config_dir()), FLAGS])


def _groups(folder: Path) -> Iterator[str]:
    """A line for each group of `conf/`, with its choices."""
    for group in sorted(path for path in folder.rglob("*") if path.is_dir()):
        name = group.relative_to(folder).as_posix()
        choices = sorted(path.stem for path in group.glob("*.yaml"))
        if choices and name.split("/")[0] != "hydra":
            yield f"{name}: {', '.join(choices)}"
