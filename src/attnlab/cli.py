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

import errno
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attnlab.compat import hide_extras_of_torchmetrics, keep_freed_memory
from attnlab.errors import RunError, StopSignalError, UserError, suggest

STOP_SIGNALS, SIG_DFL = (signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL
SPACE, RIGHTS = "free some space, then the same command again", "a folder that you may write to"
REMEDIES = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: SPACE,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.EROFS: RIGHTS,
    errno.ENOENT: "ls of the folder",
    errno.ENOTDIR: "ls of the folder",
    errno.EISDIR: "the name of a file",
    errno.ENAMETOOLONG: "a shorter name",
    errno.EMFILE: "ulimit -n 4096, then the same command again",
    errno.EIO: "another disk",
}
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
    hide_extras_of_torchmetrics()
    with _stop_signals_raise():
        try:
            code = _dispatch(words)
            sys.stdout.flush()
        except (UserError, RunError) as error:
            code = _failed(str(error), error.exit_code)
        except KeyboardInterrupt:
            code = _failed("stopped by Ctrl-C")
        except BrokenPipeError:
            # What is left in the buffer would be written, and fail, as Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = _failed("stopped: nobody reads the output any more")
        except OSError as error:
            if error.errno not in REMEDIES:
                raise
            where = f"{error.filename}: " if error.filename else ""
            code = _failed(f"{where}{error.strerror}; try: {REMEDIES[error.errno]}")
    return code


def _failed(message: str, code: int = 1) -> int:
    with suppress(OSError):  # of a terminal that is gone
        print(f"attnlab: {message}", file=sys.stderr, flush=True)
    return code


@contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end the command as Ctrl-C does: with its state and in one line."""
    in_main = threading.current_thread() is threading.main_thread()
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # it stops the other processes itself
    default = [n for n in STOP_SIGNALS if in_main and first and signal.getsignal(n) is SIG_DFL]

    def stop(number: int, frame: Any) -> None:
        for each in default:  # schedulers send them more than once
            signal.signal(each, signal.SIG_IGN)
        raise StopSignalError(f"stopped by {signal.Signals(number).name}")

    for number in default:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, SIG_DFL)


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
