"""A page of sections, each with a sentence, a table and pictures, as one HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from attnlab.report.page import asset, fill_template

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """One part of a page."""

    title: str
    note: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    pictures: Sequence[tuple[str, Figure]] = field(default=())  # each with its caption


def page(title: str, about: str, sections: Sequence[Section]) -> str:
    """The whole file, which loads nothing else."""
    parts = {
        "allowed": "img-src data:",
        "style": asset("explorer/style.css") + asset("sections.css"),
        "title": escape(title),
        "about": escape(about),
        "sections": "\n".join(map(_section, sections)),
    }
    return fill_template("sections.html", parts)


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", f'<p class="note">{escape(section.note)}</p>']
    if section.rows:
        head = _row(section.columns, "th")
        body = "\n".join(_row(row, "td") for row in section.rows)
        table = f"<table class='comparison'><thead>{head}</thead><tbody>{body}</tbody></table>"
        parts.append(f'<div class="scroll">{table}</div>')
    if section.pictures:
        parts.append(f'<div class="pictures">{"".join(map(_picture, section.pictures))}</div>')
    return f"<section>{''.join(parts)}</section>"


def _row(cells: Sequence[object], tag: str) -> str:
    return f"<tr>{''.join(_cell(cell, tag) for cell in cells)}</tr>"


def _cell(value: object, tag: str) -> str:
    if isinstance(value, float):
        return f'<{tag} class="number">{value:.3f}</{tag}>'
    numeric = ' class="number"' if isinstance(value, int) else ""
    return f"<{tag}{numeric}>{escape('' if value is None else str(value))}</{tag}>"


def _picture(picture: tuple[str, Figure]) -> str:
    caption, figure = picture
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    data = base64.b64encode(stream.getvalue()).decode()
    alt = escape(caption, quote=True)
    return (
        f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
