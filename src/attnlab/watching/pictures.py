"""Maps as a small picture in HTML, for a notebook or a file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

SIZE = 180  # pixels of the longer side of a head's map
MOST_WORDS = 40  # more of them cannot be read


@dataclass(frozen=True)
class Picture:
    """A picture that a notebook shows by itself."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def save(self, path: str | Path) -> Path:
        """Write it as a page that opens from disk."""
        page = f"<!doctype html><meta charset='utf-8'><title>attention</title>{self.html}"
        Path(path).write_text(page, encoding="utf-8")
        return Path(path)


def picture(
    title: str, maps: Tensor, queries: Sequence[str] | None, keys: Sequence[str] | None
) -> Picture:
    """The maps of one example, heads x rows x keys: the darker, the more weight."""
    heads = "".join(
        f"<figure style='margin:0 12px 12px 0'>{_svg(each, queries, keys)}"
        f"<figcaption>head {number}</figcaption></figure>"
        for number, each in enumerate(maps)
    )
    return Picture(
        "<div style='font:12px sans-serif;color:#222;background:#fff'>"
        f"<b>{html.escape(title)}</b><div style='display:flex;flex-wrap:wrap'>{heads}</div></div>"
    )


def _svg(weights: Tensor, queries: Sequence[str] | None, keys: Sequence[str] | None) -> str:
    """One map, rows x keys, with words where there is room for them."""
    rows, columns = weights.shape
    words_left = _readable(queries, rows)
    words_below = _readable(keys, columns)
    cell = max(SIZE / max(rows, columns), 11 if words_left or words_below else 0)
    left, below = (80 if words_left else 0), (80 if words_below else 0)
    width, height = columns * cell, rows * cell
    labels = [
        f"<text x='{left - 4}' y='{(i + 0.7) * cell:.1f}' text-anchor='end'>{word}</text>"
        for i, word in enumerate(words_left)
    ]
    labels += [
        f"<text transform='translate({left + (i + 0.7) * cell:.1f},{height + 4:.1f}) rotate(-90)' "
        f"text-anchor='end'>{word}</text>"
        for i, word in enumerate(words_below)
    ]
    return (
        f"<svg width='{left + width:.0f}' height='{height + below:.0f}' font-size='9'>"
        f"<image x='{left}' width='{width:.1f}' height='{height:.1f}' preserveAspectRatio='none' "
        f"style='image-rendering:pixelated' href='{_png(weights)}'/>"
        f"<rect x='{left}' width='{width:.1f}' height='{height:.1f}' fill='none' stroke='#999'/>"
        f"{''.join(labels)}</svg>"
    )


def _readable(words: Sequence[str] | None, count: int) -> list[str]:
    if words is None or len(words) != count or count > MOST_WORDS:
        return []
    return [html.escape(word if len(word) <= 14 else f"{word[:13]}…") for word in words]


def _png(weights: Tensor) -> str:
    """A map as the address of a picture, its largest weight black."""
    share = weights / weights.amax().clamp_min(1e-12)
    grey = (255 * (1 - share.sqrt().clamp(0, 1))).byte().numpy().astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
