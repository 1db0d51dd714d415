"""The front door: `attnlab STAGE ...`; `python train.py ...` is `attnlab train ...`.

A stage is a file in `stages/` with one of two lines:

    COMMAND = "what it does"      its `main(arguments)` is called with the words after its name
    FROM_CONFIG = "what it does"  its command line is that of train.py, and its
                                  `main(config, plain, overrides)` is called with a checked config

A plugin's stage is a function registered as `@register("stage", NAME)`.

Nothing heavy is imported here: a stage's module is imported when it is asked for, torch when the
config is known to be right. Exit codes: 0 done, 1 the run failed, 2 the user can mend it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from attnlab.compat import keep_freed_memory
from attnlab.errors import RunError, UserError, suggest

DECLARED = re.compile(r'^(COMMAND|FROM_CONFIG) = "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One stage as the command line offers it."""

    module: str
    says: str
    from_config: bool

    def load(self) -> Callable[[list[str]], int | None]:
        """What is called with the arguments; imported now."""
        if not self.from_config:
            return importlib.import_module(self.module).main
        from attnlab.stages import composed

        return partial(composed.run, self.module)


def commands() -> dict[str, Command]:
    """The stages of the package by name, read off their files without importing them."""
    modules = {}
    for path in sorted((Path(__file__).parent / "stages").glob("*.py")):
        declared = DECLARED.search(path.read_text(encoding="utf-8"))
        if declared:
            how, says = declared.groups()
            module = f"{__package__}.stages.{path.stem}"
            modules[path.stem] = Command(module, says, how == "FROM_CONFIG")
    return modules


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
    own = commands()
    if name in own:
        return own[name].load()(rest) or 0
    return _plugin_stage(name, rest, list(own)) or 0


def _plugin_stage(name: str, words: list[str], own: list[str]) -> int | None:
    """Call a stage of an installed package, or of a file named by `plugins=[...]`."""
    from attnlab.config.section import Stage, import_plugins

    named = [word for word in words if word.startswith("plugins=")]
    for word in named:
        modules = word.removeprefix("plugins=").strip("[]").split(",")
        import_plugins([module.strip() for module in modules])
    kinds = Stage.kinds()
    if name not in kinds:
        raise UserError(f"no stage '{name}'; {suggest(name, [*own, *kinds])}; try: attnlab --help")
    function = kinds[name](kind=name).implementation()
    return function([word for word in words if word not in named])


def overview() -> str:
    """What `attnlab --help` shows."""
    lines = [f"  {name:<10}{command.says}" for name, command in commands().items()]
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
