"""Checks of this machine: packages, compiler, kernels, cores, GPU and folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from attnlab.config.compose import config_dir, load
from attnlab.errors import ConfigError
from attnlab.stages import trusted_plugins

NAME = "attnlab"
ROOM = 1 << 30  # bytes; less is little for checkpoints
GIB = 1 << 30
SHOWN = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "wandb")
NVIDIA = "nvidia[0-9]*"  # below /dev


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, printed as one line."""

    mark: str  # `ok`, `note` or `wrong`
    about: str
    text: str
    remedy: str = ""


def ok(about: str, text: str) -> Finding:
    return Finding("ok", about, text)


def note(about: str, text: str, remedy: str = "") -> Finding:
    return Finding("note", about, text, remedy)


def wrong(about: str, text: str, remedy: str) -> Finding:
    return Finding("wrong", about, text, remedy)


def environment() -> Iterator[Finding]:
    """Every check of this machine."""
    yield from packages()
    yield processors()
    yield from folders()
    yield from kernels()
    yield gpu()


def packages() -> Iterator[Finding]:
    """Compare versions with the ranges in pyproject.toml and those in constraints.txt."""
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
    shown = [f"{name} {found[name]}" for name in SHOWN if found.get(name)]
    yield ok("packages", f"{', '.join(shown)} and {len(own) - len(shown)} more")
    if others := _not_as_locked(found):
        yield note("packages", f"not the tested versions: {', '.join(others)}", "make setup")
    extras = {}
    for name in about.get_all("Provides-Extra") or ():
        mine = [e for e in needed if e.marker and e.marker.evaluate({"extra": name})]
        extras[name] = all(_version(each.name) for each in mine)
    extras.pop("dev", None)
    absent = [name for name, installed in extras.items() if not installed]
    yield ok("extras", f"installed: {', '.join(e for e in extras if extras[e]) or 'none'}")
    if absent:
        yield note("extras", f"not installed: {', '.join(absent)}", f"pip install '{NAME}[NAME]'")


def _version(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _not_as_locked(found: dict[str, Version | None]) -> list[str]:
    """Packages whose version differs from constraints.txt; none where there is no such file."""
    path = config_dir().parent / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    locked = dict(line.partition(" ")[0].split("==") for line in lines if "==" in line)
    return [
        f"{name} {version} ({locked[name]})"
        for name, version in found.items()
        if version and name in locked and version.public != locked[name]
    ]


def processors() -> Finding:
    """Compare the number of threads with that of the cores this process may use."""
    import torch

    cores, threads = _cores(), torch.get_num_threads()
    text = f"{threads} threads on {cores} cores"
    if threads > cores:
        return wrong(
            "threads", f"{text}: they wait for one another", f"export OMP_NUM_THREADS={cores}"
        )
    return ok("threads", text)


def _cores() -> int:
    """How many cores the process may use: a container may be limited to a share of them."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        share, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
    except (OSError, ValueError):  # not Linux, or "max"
        return cores
    return max(1, min(cores, share // period))


def folders() -> Iterator[Finding]:
    """Check the folders of runs and data, the home folder and the list of trusted plugins."""
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
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return wrong(key, f"{existing} cannot be written to", f"{key}=OTHER_FOLDER")
    free = shutil.disk_usage(existing).free
    text = f"{folder}: {free / GIB:.1f} GiB free"
    return ok(key, text) if free >= ROOM else wrong(key, text, f"free some, or {key}=OTHER_FOLDER")


def _is_own(path: Path) -> bool:
    return path.stat().st_uid == os.geteuid()


def kernels() -> Iterator[Finding]:
    """Check the compiler and the cache of compiled kernels; compare kernels with their formulas."""
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
