"""The front door: `attnlab STAGE ...`; `python train.py ...` is `attnlab train ...`.

Nothing heavy is imported here: a stage's module is imported when it is asked for, torch when the
config is known to be right. Exit codes: 0 done, 1 the run failed, 2 the user can mend it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnlab.allocator import keep_freed_memory
from attnlab.errors import RunError, UserError, suggest


@dataclass(frozen=True)
class Command:
    """One stage as the command line offers it."""

    target: str  # module:function, called with the arguments that follow the stage's name
    says: str


COMMANDS = {
    "train": Command("attnlab.stages.composed:train", "prepare, train, evaluate and report"),
    "prepare": Command("attnlab.stages.composed:prepare", "write the dataset's splits to disk"),
    "evaluate": Command("attnlab.stages.evaluate:main", "judge a run on its test split"),
    "predict": Command("attnlab.stages.predict:main", "answer, with scores and maps, as JSONL"),
    "explain": Command("attnlab.stages.explain:main", "explain a run's answers, and test its maps"),
    "report": Command("attnlab.stages.report:main", "write the HTML report of a run"),
    "dashboard": Command("attnlab.stages.dashboard:main", "make the W&B workspace of a project"),
    "compare": Command("attnlab.stages.compare:main", "run a sweep and write its leaderboard"),
    "align": Command("attnlab.stages.align:main", "align the words of sentence pairs"),
    "params": Command("attnlab.stages.params:main", "write params.yaml, which `dvc repro` reads"),
    "schema": Command("attnlab.stages.schema:main", "print the JSON schema of the config"),
    "sync": Command("attnlab.stages.sync:main", "say how to upload a run to W&B"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    keep_freed_memory()
    try:
        return _dispatch(words)
    except (UserError, RunError) as error:
        print(f"attnlab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("attnlab: stopped", file=sys.stderr)
        return 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0
    if words[0] in ("-sc", "--shell-completion"):
        words = ["train", *words]
    name, *rest = words
    if name not in COMMANDS:
        raise UserError(f"no stage '{name}'; {suggest(name, COMMANDS)}; try: attnlab --help")
    return stage(name)(rest) or 0


def stage(name: str) -> Callable[[list[str]], int | None]:
    """The function of a stage, its module imported now."""
    module, _, function = COMMANDS[name].target.partition(":")
    return getattr(importlib.import_module(module), function)


def overview() -> str:
    """What `attnlab --help` shows."""
    lines = [f"  {name:<10}{command.says}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "attnlab: swap the attention, predict the attention, check the attention.",
            "",
            "usage: attnlab STAGE ...",
            "",
            *lines,
            "",
            "`attnlab STAGE --help` says more. `python train.py` is `attnlab train`.",
        ]
    )
