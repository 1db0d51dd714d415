"""`attnlab data`: what data there are, how they are had, and how your own are read.

Embedded data are made by the package and need no network. Files are downloaded to where they are
read from; where a form or a conversion stands in between, it says what to do by hand.

    attnlab data list                 every dataset: its answers, size, licence, and where it is
    attnlab data sst2                 bring its files
    attnlab data sst2 paths.data=DIR  below another folder than data/
    attnlab data inspect my/train.csv the YAML and the command for a file or folder of your own
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.table import Table
from rich.text import Text

from attnlab.config.compose import quoted
from attnlab.config.dataset import Origin
from attnlab.datasets.catalog import INCOMPLETE, Entry, entries, entry, names
from attnlab.datasets.download import Record, get
from attnlab.datasets.inspection import Proposal, inspect
from attnlab.errors import RunError, UserError
from attnlab.stages.run import flat
from attnlab.stages.sweep_table import print_whole

COMMAND = "list, download and inspect data"
PATHS = "paths.data="


def main(arguments: list[str]) -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(
        prog="attnlab data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="list|NAME|inspect")
    parser.add_argument("path", nargs="*", help=f"of inspect: a file or folder; {PATHS}FOLDER")
    options = parser.parse_intermixed_args(arguments)
    settings = [word for word in options.path if word.startswith(PATHS)]
    paths = [word for word in options.path if word not in settings]
    data = Path(settings[-1].removeprefix(PATHS) if settings else "data")
    if options.what == "inspect" and len(paths) == 1:
        propose(Path(paths[0]))
        return
    if paths or options.what == "inspect":
        raise UserError("data: takes one name, or inspect and one file or folder")
    if options.what == "list":
        show(data)
    else:
        obtain(entry(options.what), data)


def show(data: Path) -> None:
    """A line for each dataset."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "answer", "where", "size", "licence"):
        table.add_column(name, no_wrap=True)
    for each in entries():
        state = each.state(data)
        where = Text(state, style="green" if state in ("embedded", "there") else "none")
        table.add_row(each.name, each.form, where, each.size, each.licence)
    print("embedded: made by the package, no network needed")
    print_whole(table)
    print("get one: attnlab data NAME; your own files: attnlab data inspect FILE")


def obtain(dataset: Entry, data: Path) -> None:
    """Bring the files of a dataset, or say in one block how they are had."""
    origin = dataset.origin
    if origin is None:
        print(f"{dataset.name} is made by the package, no network needed\n  {dataset.command}")
        return
    if dataset.from_hub:
        print(
            f"{dataset.name} is read from {origin.page} as it is prepared (licence: "
            f"{origin.licence})\n  pip install 'attnlab[hub]'\n  {dataset.command}"
        )
        return
    missing = dataset.missing(data)
    if missing and origin.by_hand:
        raise UserError(_by_hand(dataset, origin, data, missing))
    for download in origin.downloads:
        record = Record(data / download.places[0].partition("/")[0])
        if changed := record.changed(data):
            print(f"changed since the download: {', '.join(changed)}", file=sys.stderr)
        if not set(download.places) & set(missing):
            continue
        if origin.licence not in record.licences:
            print(f"licence of {dataset.name}: {origin.licence} ({origin.page})")
            record.licences.append(origin.licence)
        try:
            get(download, data, record, show=sys.stdout.isatty())
        except RunError as error:
            raise RunError(f"{error}\n  by hand: {origin.page}; {origin.layout}") from None
        except OSError as error:
            problem = f"paths.data: cannot write to {data} ({error.strerror})"
            raise UserError(f"{problem}; try: paths.data=OTHER_FOLDER") from None
        print(f"{download.url} -> {', '.join(str(data / p) for p in download.places)}")
    folder = "" if data == Path("data") else f" {PATHS}{data}"
    print(f"{dataset.name} is there\n  {dataset.command}{folder}")


def _by_hand(dataset: Entry, origin: Origin, data: Path, missing: list[str]) -> str:
    """One block: what to download, what it has to become, and where it goes."""
    assert origin.by_hand is not None
    lines = [
        f"{dataset.name}: has to be had by hand (licence: {origin.licence})",
        *textwrap.wrap(origin.by_hand.steps, 96, break_on_hyphens=False),
        f"from {origin.page}",
        "missing:",
        *(f"  {data / place}" for place in missing),
        "layout:",
        *textwrap.wrap(origin.layout, 96, break_on_hyphens=False),
    ]
    return "\n  ".join(lines)


def propose(path: Path) -> None:
    """Show how a user's file or folder is read: what was seen, the YAML, and a command to run."""
    proposal = inspect(path)
    called = (path.parent if _of_folder(path) else path).resolve().name.partition(".")[0]
    name = re.sub(r"[^\w+-]+", "_", called) or "mine"
    if name in [*names(), *INCOMPLETE]:  # which would be read in its place
        name = f"my_{name}"
    print(*(f"# {note}" for note in proposal.notes), sep="\n")
    print(f"\n# my_conf/dataset/{name}.yaml\n{as_yaml(proposal, name)}")
    words = shlex.join(["python", "train.py", *overrides(proposal, name)])
    kept = shlex.join(["--config-dir", "my_conf", f"dataset={name}", *proposal.words])
    print(f"# run it:\n{words}\n# or, with the YAML kept in that file:\npython train.py {kept}")


def as_yaml(proposal: Proposal, name: str) -> str:
    """The dataset as a file of `conf/dataset/`."""
    groups = {"gold": "picture_gold@gold"} if proposal.base == "pictures" else {}
    options = [{f"override {groups.get(g, g)}": o} for g, o in proposal.options.items()]
    content = {"defaults": [proposal.base, *options, "_self_"], "name": name} | proposal.values
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def overrides(proposal: Proposal, name: str) -> list[str]:
    """The same as words of a command."""
    chosen = [f"dataset/{group}={option}" for group, option in proposal.options.items()]
    values = flat(proposal.values, "dataset.")
    keys = [f"{key}={_written(value)}" for key, value in values.items()]
    new = [f"+{key}" if key.startswith("dataset.inputs.other=") else key for key in keys]
    return [f"dataset={proposal.base}", *chosen, f"dataset.name={name}", *new, *proposal.words]


def _written(value: Any) -> str:
    """A value in Hydra's grammar; text that it would read as something else is quoted."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    plain = re.fullmatch(r"[A-Za-z_/.][\w./-]*", value) and isinstance(yaml.safe_load(value), str)
    if plain:
        return value
    return quoted(value) if '"' in value or "\\" in value else f'"{value}"'


def _of_folder(path: Path) -> bool:
    """Whether a file is called like a split, so that its folder says what it is."""
    return path.is_file() and re.match(r"(train|data)(?![a-z])", path.name.lower()) is not None
