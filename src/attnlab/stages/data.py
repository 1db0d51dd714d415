"""`attnlab data`: what data there are, and how they are had.

Embedded data are made by the package and need no network. Files are downloaded to where they are
read from; where a form or a conversion stands in between, it says what to do by hand.

    attnlab data list                 every dataset: its answers, size, licence, and where it is
    attnlab data sst2                 bring its files
    attnlab data sst2 paths.data=DIR  below another folder than data/
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from attnlab.config.dataset import Origin
from attnlab.datasets.catalog import Entry, entries, entry
from attnlab.datasets.download import Record, get
from attnlab.errors import RunError, UserError
from attnlab.stages.sweep_table import print_whole

COMMAND = "list and download data"
PATHS = "paths.data="


def main(arguments: list[str]) -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(
        prog="attnlab data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="list|NAME")
    parser.add_argument("path", nargs="*", help=f"{PATHS}FOLDER")
    given = parser.parse_intermixed_args(arguments)
    settings = [word for word in given.path if word.startswith(PATHS)]
    paths = [word for word in given.path if word not in settings]
    data = Path(settings[-1].removeprefix(PATHS) if settings else "data")
    if paths:
        raise UserError(f"data: takes one name, got '{paths[0]}' as well")
    if given.what == "list":
        show(data)
    else:
        obtain(entry(given.what), data)


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
    print("get one: attnlab data NAME")


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
        *textwrap.wrap(origin.by_hand.steps, 96),
        f"from {origin.page}",
        "missing:",
        *(f"  {data / place}" for place in missing),
        "layout:",
        *textwrap.wrap(origin.layout, 96),
    ]
    return "\n  ".join(lines)
