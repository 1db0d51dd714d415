"""`attnlab doctor [RUN]`: check this machine, and the files and data of a run.

Checks Python, packages, compiler, kernels, threads, GPU, disks and folders. With a run, it also
checks every file of the run and its prepared data. No code of the run is executed, and its plugins
are not imported. Each `wrong` line gives a remedy. The exit code is 1 if there is one, else 0.

    attnlab doctor
    attnlab doctor latest
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from attnlab.config.migrations import migrated
from attnlab.config.section import is_name
from attnlab.errors import UserError
from attnlab.stages import run_lock
from attnlab.stages.machine_checks import Finding, environment, note, ok, wrong
from attnlab.stages.run import open_run, read_config
from attnlab.stages.run_folders import existing_run
from attnlab.stages.run_start import resume_command
from attnlab.stages.run_status import read_status, state_now

COMMAND = "say what is wrong with this machine or a run, and what to do"
STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def main(arguments: list[str]) -> int:
    """Print a line for each finding."""
    parser = argparse.ArgumentParser(
        prog="attnlab doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", help="folder of a run, or latest")
    options = parser.parse_args(arguments)
    folder = existing_run(options.run, trained=False) if options.run else None
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
    """One line without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def of_run(folder: Path) -> Iterator[Finding]:
    """Check a run's config, status, checkpoints, results and prepared data."""
    yield from _status(folder)
    try:
        plain = migrated(read_config(folder / "config.yaml"))
    except UserError as error:
        yield _from_error("config.yaml", error)
        plain = {}
    if plugins := plain.get("plugins"):
        text = f"plugins, not imported here, so that its keys are not checked: {plugins}"
        yield note("config.yaml", text)
    elif plain:
        yield from _read("config.yaml", "every key is right", lambda: open_run(folder))
    digest = yield from _checkpoints(folder)
    yield from _results(folder)
    yield from _data(plain, digest)


def _from_error(about: str, error: UserError) -> Finding:
    """An error message as a finding: what follows `try:` is the remedy."""
    text, _, remedy = " ".join(str(error).split()).partition("try: ")
    return wrong(about, text.rstrip("; "), remedy)


def _read(about: str, intact: str, *readers: Any) -> Iterator[Finding]:
    """Call each reader; one finding for each error, or one that says `intact`."""
    findings = []
    for reader in readers:
        try:
            reader()
        except UserError as error:
            findings.append(_from_error(about, error))
    yield from findings or [ok(about, intact)]


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
    """Check each checkpoint; returns the hash of the data that they were trained on."""
    from attnlab.training.checkpoint import not_finite, read_checkpoint

    digest, paths = "", sorted((folder / "checkpoints").glob("*.ckpt"))
    if not paths:
        yield note("checkpoints", "none: nothing was trained here, or they were removed")
    for path in paths:
        about = f"checkpoints/{path.name}"
        try:
            content = read_checkpoint(path)
        except UserError as error:
            yield _from_error(about, error)
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
    yield from _read("history", "intact", *readers, lambda: load_frames(folder))
    if not (folder / "metrics.json").is_file():
        yield note("metrics.json", "not evaluated", f"attnlab evaluate {folder}")
        return
    try:
        changed = changed_history(folder, read_figures(folder).get("history", {}))
    except UserError:
        changed = []  # `_read` below reports it
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
        return  # a damaged config, already reported, or one of plugins
    folders, matching = [m.parent for m in metas if m.parent.name.startswith(f"{name}-")], False
    for folder in folders:
        try:
            prepared = Prepared(folder)
            phrases = damage(folder, prepared.meta, thoroughly=True)
        except UserError as error:
            yield _from_error("data", error)
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
