"""A leaderboard as one HTML file that loads nothing else, in the style of the report."""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from attnlab.metrics.figures import facts
from attnlab.report.leaderboard import COSTS, Entry, Leaderboard, Measure, Row
from attnlab.report.leaderboard_picture import AXES, DARK, LIGHT, Palette, panels_of, svg_text
from attnlab.report.leaderboard_table import between, column_titles, number, state
from attnlab.report.page import asset, fill_template

ACROSS = AXES | {"plausibility": "agreement with gold"}
PLACE = "by answers; tied: the answers of each lie in the interval of the other"
MEANINGS = {
    "quality": "how good the answers are",
    "plausibility": "how well the map agrees with gold",
    "trust": "share of the answers that change when a uniform or a permuted map replaces the "
    "model's own (the smaller of the two shares)",
    "seconds": "seconds of training",
    "memory": "MiB that the training held at its peak",
    "parameters": "parameters of the model",
}


def page(board: Leaderboard, title: str, command: Sequence[str], folder: Path) -> str:
    """The whole file, to be written into the folder."""
    parts = {
        "allowed": "script-src 'unsafe-inline'; img-src data:",
        "style": asset("explorer/style.css") + asset("leaderboard.css"),
        "script": asset("leaderboard.js"),
        "title": escape(title),
        "command": escape(shlex.join(command)),
        "about": _about(board),
        "header": _header(board),
        "rows": "\n".join(_row(board, row, i, folder) for i, row in enumerate(board.rows, 1)),
        "controls": "\n".join(_control(board, name) for name in board.controls),
        "meanings": _meanings(board),
        "missing": _missing(board, folder),
        "picture": _picture(board),
    }
    return fill_template("leaderboard.html", parts)


def _about(board: Leaderboard) -> str:
    entries = [entry for row in board.rows for entry in row.entries]
    without = sum(len(row.without_figures) for row in board.rows)
    seeds, folds = len({e.seed for e in entries}), len({e.fold for e in entries} - {None})
    parts = [
        _count(len(board.rows), "system"),
        _count(len(entries), "run"),
        _count(seeds, "seed"),
        _count(folds, "fold") if folds else "",
        f"{without} without figures" if without else "",
    ]
    return "  ·  ".join(filter(None, parts))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _header(board: Leaderboard) -> str:
    """Each name is a button that sorts by its column; at first the answers decide the order."""
    cells = [_sortable("place", PLACE, "ascending"), _sortable("system", "")]
    cells += [
        _sortable(name, _meaning(board, column)) for column, name in column_titles(board).items()
    ]
    return "".join([*cells, '<th scope="col">runs</th>'])


def _meaning(board: Leaderboard, column: str) -> str:
    """What the column is; of answers and maps, also what its figure is."""
    fact = facts(board.figures.get(column, "")) if column not in COSTS else None
    return f"{MEANINGS[column]}: {fact.help}" if fact else MEANINGS[column]


def _sortable(name: str, help_: str, order: str = "none") -> str:
    button = f'<button type="button" title="{escape(help_)}">{escape(name)}</button>'
    kind = "" if name == "system" else ' class="number"'
    return f'<th scope="col"{kind} aria-sort="{order}">{button}</th>'


def _row(board: Leaderboard, row: Row, rank: int, folder: Path) -> str:
    front = '<span class="front" title="on a Pareto front">front</span>' if row.fronts else ""
    cells = [
        f'<td class="number" data-value="{rank}">{board.place(rank - 1)}</td>',
        f'<th scope="row">{escape(row.system)} {front}</th>',
        *(_cell(row.measures.get(column), column) for column in column_titles(board)),
        f"<td>{_runs(row, folder)}</td>",
    ]
    return f"<tr{'' if row.evaluated else ' class=missing'}>{''.join(cells)}</tr>"


def _cell(measure: Measure | None, column: str) -> str:
    if measure is None:
        return '<td class="number" data-value=""></td>'
    interval = between(measure, column)
    small = f"<small>{interval}</small>" if interval else ""
    value = f"<span>{number(measure.mean, column)}</span>"
    return f'<td class="number" data-value="{measure.mean}">{value}{small}</td>'


def _runs(row: Row, folder: Path) -> str:
    """A link to the report of each run, named by its seed and fold; how the others ended."""
    links = [_report(entry, folder) for entry in row.evaluated]
    ended = state(row)
    failed = [f'<span class="wrong">{escape(ended)}</span>'] if ended else []
    return " ".join([*links, *failed])


def _report(entry: Entry, folder: Path) -> str:
    name = entry.repeat
    path = Path(entry.folder) / "report.html"
    return f'<a href="{_link(path, folder)}">{name}</a>' if path.is_file() else name


def _link(path: Path, folder: Path) -> str:
    return escape(quote(Path(os.path.relpath(path, folder)).as_posix()))


def _control(board: Leaderboard, name: str) -> str:
    """The row of a control map, which has no rank."""
    cells = [
        f'<td class="number">{number(board.controls[name], c) if c == "plausibility" else ""}</td>'
        for c in column_titles(board)
    ]
    return f'<tr><td></td><th scope="row">{name} map</th>{"".join(cells)}<td></td></tr>'


def _missing(board: Leaderboard, folder: Path) -> str:
    """Why runs have no figures."""
    entries = [entry for row in board.rows for entry in row.without_figures]
    if not entries:
        return ""
    rows = [
        f'<tr><th scope="row">{escape(entry.system)}</th><td>{entry.repeat}</td>'
        f'<td class="wrong">{escape(entry.state)}</td><td class="why">{escape(entry.error)}</td>'
        f"<td>{_log(entry, folder)}</td></tr>"
        for entry in entries
    ]
    table = f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'
    return f'<section id="missing"><h2>Runs without figures</h2>{table}</section>'


def _log(entry: Entry, folder: Path) -> str:
    return (
        f'<a href="{_link(Path(entry.log), folder)}">{escape(entry.log)}</a>' if entry.log else ""
    )


def _picture(board: Leaderboard) -> str:
    """The picture for light and for dark pages; the table holds the same values."""
    if not any("quality" in row.measures for row in board.rows):
        return ""
    panels = []
    for column in panels_of(board):
        text = f"Answers against {ACROSS[column]}; the table above has the figures"
        dark, light = (_data(board, palette, column) for palette in (DARK, LIGHT))
        source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        panels.append(f'<picture>{source}<img src="{light}" alt="{text}"></picture>')
    return f'<figure class="panels">{"".join(panels)}</figure>'


def _data(board: Leaderboard, palette: Palette, column: str) -> str:
    """One panel: side by side where there is room, else one below the other."""
    text = base64.b64encode(svg_text(board, palette, [column]).encode()).decode()
    return f"data:image/svg+xml;base64,{text}"


def _meanings(board: Leaderboard) -> str:
    """The meaning of each column, and which way is better."""
    items = []
    for column, name in column_titles(board).items():
        better = "less is better" if board.is_lower_better(column) else "more is better"
        items.append(f"<dt>{escape(name)}</dt><dd>{escape(_meaning(board, column))}; {better}</dd>")
    return "".join(items)
