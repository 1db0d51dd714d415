"""`attnlab doctor [RUN]`: whether this machine, and a run, are as they should be.

Looks at Python, packages, compiler, kernels, processors, GPU, disks and folders; with a run also
at its files and its data. Nothing of the run is executed, and its plugins are not imported. Each
line that is `wrong` says what to do about it, and makes the exit code 1.

    attnlab doctor
    attnlab doctor latest
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from rich.console import Console
from rich.text import Text

from attnlab.config.compose import config_dir, load
from attnlab.config.migrations import migrated
from attnlab.config.section import is_name
from attnlab.errors import ConfigError, UserError
from attnlab.stages import run_lock, trusted_plugins
from attnlab.stages.run import existing_run, open_run, read_config
from attnlab.stages.run_start import resume_command
from attnlab.stages.run_status import read_status, state_now

COMMAND = "say what is wrong with this machine or a run, and what to do"
NAME = "attnlab"
ROOM = 1 << 30  # bytes; less is little for checkpoints
GIB = 1 << 30
STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}
SHOWN = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "wandb")
NVIDIA = "nvidia[0-9]*"  # below /dev


@dataclass(frozen=True)
class Finding:
    """One line."""

    mark: str  # ok, note or wrong
    about: str
    text: str
    remedy: str = ""


def ok(about: str, text: str) -> Finding:
    return Finding("ok", about, text)


def note(about: str, text: str, remedy: str = "") -> Finding:
    return Finding("note", about, text, remedy)


def wrong(about: str, text: str, remedy: str) -> Finding:
    return Finding("wrong", about, text, remedy)


def main(arguments: list[str]) -> int:
    """Print a line for each finding."""
    parser = argparse.ArgumentParser(
        prog="attnlab doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", help="folder of a run, or latest")
    options = parser.parse_args(arguments)
    folder = existing_run(options.run) if options.run else None
    findings = [*environment(), *(of_run(folder) if folder else ())]
    console = Console(markup=False, emoji=False, highlight=False)
    widest = max(len(each.about) for each in findings)
    for each in findings:
        text = f"{each.text}; try: {each.remedy}" if each.remedy else each.text
        mark = Text(f"{each.mark:<7}", STYLES[each.mark])
        line = Text.assemble(mark, f"{each.about:<{widest}}  ", _printable(text))
        console.print(line, soft_wrap=True)
    count = sum(each.mark == "wrong" for each in findings)
    print(f"\n{count} wrong" if count else "\nnothing is wrong")
    return 1 if count else 0


def _printable(text: str) -> str:
    """In one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def environment() -> Iterator[Finding]:
    """This machine."""
    yield from packages()
    yield processors()
    yield from folders()
    yield from kernels()
    yield gpu()


def packages() -> Iterator[Finding]:
    """Python and the packages, against the ranges of this package and the versions it locks."""
    try:
        about = metadata.metadata(NAME)
        needed = [Requirement(line) for line in metadata.requires(NAME) or ()]
    except metadata.PackageNotFoundError:
        yield wrong("packages", f"{NAME} is not installed", "pip install -e .")
        return
    allowed, python = about["Requires-Python"], platform.python_version()
    if python in SpecifierSet(allowed or ""):
        yield ok("python", python)
    else:
        yield wrong("python", f"{python}, which is not in {allowed}", "another Python")
    own = [each for each in needed if each.marker is None]
    found = {each.name: _version(each.name) for each in own}
    for each in own:
        version = found[each.name]
        if version is None or version not in each.specifier:
            text = f"{each.name} is {version or 'missing'}, not in {each.specifier}"
            yield wrong("packages", text, f"pip install '{each}'")
    there = [f"{name} {found[name]}" for name in SHOWN if found.get(name)]
    yield ok("packages", f"{', '.join(there)} and {len(own) - len(there)} more")
    if others := _not_as_locked(found):
        yield note("packages", f"not the tested versions: {', '.join(others)}", "make setup")
    extras = {}
    for name in about.get_all("Provides-Extra") or ():
        mine = [e for e in needed if e.marker and e.marker.evaluate({"extra": name})]
        extras[name] = all(_version(each.name) for each in mine)
    extras.pop("dev", None)
    absent = [name for name, is_there in extras.items() if not is_there]
    yield ok("extras", f"installed: {', '.join(e for e in extras if extras[e]) or 'none'}")
    if absent:
        yield note("extras", f"not installed: {', '.join(absent)}", f"pip install '{NAME}[NAME]'")


def _version(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _not_as_locked(found: dict[str, Version | None]) -> list[str]:
    """The packages of another version than constraints.txt has, where that is here."""
    path = config_dir().parent / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    locked = dict(line.partition(" ")[0].split("==") for line in lines if "==" in line)
    return [
        f"{name} {version} ({locked[name]})"
        for name, version in found.items()
        if version and name in locked and version.public != locked[name]
    ]


def processors() -> Finding:
    """Threads against the cores that this process may use."""
    import torch

    cores, threads = _cores(), torch.get_num_threads()
    text = f"{threads} threads on {cores} cores"
    if threads > cores:
        return wrong(
            "threads", f"{text}: they wait for one another", f"export OMP_NUM_THREADS={cores}"
        )
    return ok("threads", text)


def _cores() -> int:
    """Fewer in a container that may use a share of the machine."""
    there = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        share, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
    except (OSError, ValueError):  # not Linux, or "max"
        return there
    return max(1, min(there, share // period))


def folders() -> Iterator[Finding]:
    """Where runs, data and the user's own files go: room, rights, and closed to others."""
    try:
        paths = load()[0].paths
    except ConfigError as error:
        yield wrong("conf/", str(error), f"the conf/ that {NAME} was installed with")
        return
    for key, name in (("runs", paths.runs), ("data", paths.data), ("prepared", paths.prepared)):
        yield _room(f"paths.{key}", Path(name))
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        yield ok("home", str(home))
    else:
        yield wrong("home", f"{home} cannot be written to", "export HOME=FOLDER")
    trusted = trusted_plugins.own_folder() / trusted_plugins.FILE
    if trusted.is_file() and (trusted.stat().st_mode & 0o022 or not _is_own(trusted)):
        yield wrong("plugins", f"{trusted} is open to others, so not used", f"chmod 600 {trusted}")


def _room(key: str, folder: Path) -> Finding:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return wrong(key, f"{there} cannot be written to", f"{key}=OTHER_FOLDER")
    free = shutil.disk_usage(there).free
    text = f"{folder}: {free / GIB:.1f} GiB free"
    return ok(key, text) if free >= ROOM else wrong(key, text, f"free some, or {key}=OTHER_FOLDER")


def _is_own(path: Path) -> bool:
    return path.stat().st_uid == os.geteuid()


def kernels() -> Iterator[Finding]:
    """The compiler, the folder of compiled kernels, and whether they compute what they should."""
    from attnlab.attention.kernels import measure, native

    compiler, folder = native.find_compiler(), native.cache_dir()
    if compiler is None:
        text = "no C compiler: torch's operators take the place of the compiled kernels, slower"
        yield note("compiler", text, "apt-get install gcc")
    else:
        yield ok("compiler", compiler)
        elsewhere = "export XDG_CACHE_HOME=FOLDER"
        if native.library() is None:
            yield wrong(
                "kernels", f"{compiler} does not compile them", "CC=gcc, or a newer compiler"
            )
        if folder.is_dir() and not _is_own(folder):
            yield wrong("cache", f"{folder} belongs to another user", elsewhere)
        elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            yield wrong("cache", f"{folder} cannot be written to", elsewhere)
        else:
            yield ok("cache", f"{folder}, closed to others")
    differing = list(measure.differing())
    for text in differing:
        yield wrong("kernels", text, "attention.kernel=reference, and tell the maintainers")
    if not differing:
        yield ok("kernels", "equal to the formulas in fp32 and fp64, forward and backward")


def gpu() -> Finding:
    """The GPUs, or why there are none."""
    import torch

    if torch.cuda.is_available():
        all_ = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        return ok(
            "gpu", ", ".join(f"{each.name}, {each.total_memory / GIB:.0f} GiB" for each in all_)
        )
    if any(Path("/dev").glob(NVIDIA)):
        text = f"there is one, but torch {torch.__version__} cannot use it"
        return wrong("gpu", text, "nvidia-smi; a torch for its driver: pytorch.org/get-started")
    return ok("gpu", "none, models run on the CPU")


def of_run(folder: Path) -> Iterator[Finding]:
    """A run's files and data."""
    yield from _status(folder)
    try:
        plain = migrated(read_config(folder / "config.yaml"))
    except UserError as error:
        yield _told("config.yaml", error)
        plain = {}
    if plugins := plain.get("plugins"):
        text = f"plugins, not imported here, so that its keys are not checked: {plugins}"
        yield note("config.yaml", text)
    elif plain:
        yield from _read("config.yaml", "every key is right", lambda: open_run(folder))
    digest = yield from _checkpoints(folder)
    yield from _results(folder)
    yield from _data(plain, digest)


def _told(about: str, error: UserError) -> Finding:
    """A message of ours, whose remedy stands behind `try:`."""
    text, _, remedy = " ".join(str(error).split()).partition("try: ")
    return wrong(about, text.rstrip("; "), remedy)


def _read(about: str, whole: str, *readers: Any) -> Iterator[Finding]:
    """What is wrong with files, or that they are whole."""
    findings = []
    for reader in readers:
        try:
            reader()
        except UserError as error:
            findings.append(_told(about, error))
    yield from findings or [ok(about, whole)]


def _status(folder: Path) -> Iterator[Finding]:
    status, state, owner = read_status(folder), state_now(folder), run_lock.owner(folder)
    again = resume_command(status.get("overrides", []), folder)
    message = " ".join(map(str, status.get("message", [])))
    if state == "died":
        yield wrong("status.json", "says running, but its process is gone", again)
    elif state in ("failed", "interrupted"):
        yield note("status.json", f"{state}: {message}", again)
    elif state in ("damaged", "unknown"):
        yield wrong("status.json", message or "missing", again)
    else:
        yield ok("status.json", f"{state}{f', {owner}' if owner else ''}")
    for draft in sorted(folder.rglob(".*.part")):
        if owner is None:
            yield note(str(draft.relative_to(folder)), "left by a kill, never read", f"rm {draft}")


def _checkpoints(folder: Path) -> Iterator[Finding]:
    """Returns the hash of the data that they were trained on."""
    from attnlab.training.checkpoint import not_finite, read_checkpoint

    digest, paths = "", sorted((folder / "checkpoints").glob("*.ckpt"))
    if not paths:
        yield note("checkpoints", "none: nothing was trained here, or they were removed")
    for path in paths:
        about = f"checkpoints/{path.name}"
        try:
            content = read_checkpoint(path)
        except UserError as error:
            yield _told(about, error)
            continue
        digest = content["attnlab"]["data_digest"]
        if name := not_finite(content, list(content["state_dict"])):
            lower = "resume=never with a lower trainer.optimizer.lr"
            yield wrong(about, f"{name} is NaN or infinite", lower)
        else:
            step = content.get("global_step")
            yield ok(about, f"step {step}, the checksum is right, weights are finite")
    return digest


def _results(folder: Path) -> Iterator[Finding]:
    """History, figures, examples and maps, as the report reads them."""
    from attnlab.report.examples import load_examples
    from attnlab.report.recorded_maps import load_frames, load_heads
    from attnlab.report.summary import read_figures
    from attnlab.report.tables import (
        PER_EXAMPLE,
        RESAMPLES,
        changed_history,
        read_scores,
        require_results,
    )
    from attnlab.stages.report import curves_of

    tables = sorted((folder / "history").glob("*.csv"))
    readers = [lambda path=path: curves_of(path) for path in tables]
    yield from _read("history", "whole", *readers, lambda: load_frames(folder))
    if not (folder / "metrics.json").is_file():
        yield note("metrics.json", "not evaluated", f"attnlab evaluate {folder}")
        return
    try:
        changed = changed_history(folder, read_figures(folder).get("history", {}))
    except UserError:
        changed = []  # told below
    if changed:
        text = f"changed since the run was evaluated: {', '.join(changed)}"
        yield wrong("history", text, f"attnlab evaluate {folder}")
    yield from _read(
        "figures",
        "as the evaluation wrote them",
        lambda: require_results(folder, read_figures(folder).get("files", {})),
        lambda: load_examples(folder / "examples.json"),
        lambda: load_heads(folder),
        lambda: read_scores(folder, PER_EXAMPLE),
        lambda: read_scores(folder, RESAMPLES),
    )


def _data(plain: dict[str, Any], digest: str) -> Iterator[Finding]:
    """The prepared data that the checkpoints were trained on, file by file."""
    from attnlab.data.integrity import META, damage
    from attnlab.data.prepared import Prepared

    try:
        below, name = Path(plain["paths"]["prepared"]), plain["dataset"]["name"]
        metas = sorted(below.glob(f"*/{META}")) if is_name(name) else []
    except (KeyError, TypeError, AttributeError, OSError, ValueError):
        return  # of a config that is told as damaged, or of plugins
    folders, matching = [m.parent for m in metas if m.parent.name.startswith(f"{name}-")], False
    for folder in folders:
        try:
            prepared = Prepared(folder)
            phrases = damage(folder, prepared.meta, thoroughly=True)
        except UserError as error:
            yield _told("data", error)
            continue
        matching |= prepared.digest == digest
        if phrases:
            anew = f"rm -r {folder}, then the same command prepares it anew"
            yield wrong("data", f"{folder}: {'; '.join(phrases)}", anew)
        elif prepared.digest == digest:
            yield ok("data", f"{folder}: every file has its hash")
    if digest and not matching:
        text = f"none in {below} that the checkpoints were trained on (hash {digest[:12]})"
        yield note("data", text, "the same source files; evaluating prepares them anew")
