"""The report: runs, their figures and their maps as one HTML file that loads nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.errors import RunError
from attnlab.report.classes import Classes
from attnlab.report.examples import ShownExample, file_name
from attnlab.report.map_pictures import draw_map
from attnlab.report.recorded_maps import Heads, MapHistory
from attnlab.report.rendering import pack
from attnlab.report.summary import Difference

SCRIPTS = (
    *("theme", "unpack", "svg", "figures", "maps", "charts", "calibration", "examples"),
    *("example", "summary", "classes", "film", "page"),
)
Curves = dict[str, list[tuple[int, float]]]

PLACES = ("paths.", "hydra.", "resume=")  # overrides that say where a run is, not what it is

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 120
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class ReportedRun:
    """The results of one run, as other stages wrote them."""

    name: str
    folder: str
    settings: dict[str, Any]  # dotted keys of its config
    figures: dict[str, Any]  # metrics.json
    curves: Curves
    examples: list[ShownExample]
    heads: list[Heads]  # of the first examples
    losses: dict[str, float]  # by example
    map_site: str  # whose maps the examples have
    provenance: dict[str, str] = field(default_factory=dict)
    history: MapHistory = field(default_factory=MapHistory)
    classes: Classes | None = None  # of answers that are classes
    calibration: dict[str, Any] = field(default_factory=dict)  # calibration.json


def page(title: str, runs: Sequence[ReportedRun], differences: Sequence[Difference]) -> str:
    """The whole HTML file."""
    data = {
        "title": title,
        "runs": [_run(run) for run in runs],
        "settings": _settings(runs),
        "differences": [asdict(difference) for difference in differences],
        "examples": _examples(runs),
    }
    parts = {
        "allowed": "script-src 'unsafe-inline'; img-src data: blob:; media-src data:",
        "style": asset("explorer/style.css"),
        "script": "\n".join(asset(f"explorer/{name}.js") for name in SCRIPTS),
        "title": html.escape(title),
        "data": in_script(json.dumps(data, ensure_ascii=False, separators=(",", ":"))),
    }
    return fill_template("explorer/page.html", parts)


def asset(name: str) -> str:
    """The text of a file that lies beside this module, by its path from here."""
    return (files("attnlab.report") / name).read_text(encoding="utf-8")


def in_script(text: str) -> str:
    """JSON as the content of a script element, which `<` could end, or open a comment in."""
    return text.replace("<", "\\u003c")


def fill_template(template: str, parts: Mapping[str, str]) -> str:
    """A template with each {{name}} replaced in this order; only the last may hold any text.

    {{head}} is the head that all pages share: `style`, `title`, and in `allowed` what the page may
    load or run beside its style.
    """
    whole = asset(template).replace("{{head}}", asset("head.html"))
    for name, part in parts.items():
        whole = whole.replace(f"{{{{{name}}}}}", part)
    return whole


def _run(run: ReportedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": run.folder,
        "figures": run.figures,
        "curves": run.curves,
        "map_site": run.map_site,
        "provenance": run.provenance,
        "film": _film(run.history),
        "classes": run.classes and run.classes.plain(),
        "calibration": run.calibration,
    }


def _film(history: MapHistory) -> dict[str, Any]:
    """Examples with a map for each step, or null where there is none."""
    examples = [
        _example(example)
        | {
            "gold_map": pack(example.gold_map),
            "maps": [rows and pack(rows, bits=8) for rows in maps],
        }
        for example, maps in history.examples
    ]
    return {"steps": history.steps, "examples": examples}


def _settings(runs: Sequence[ReportedRun]) -> dict[str, list[Any]]:
    """The keys of the config in which runs differ, with the value of each run."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: [run.settings.get(key) for run in runs] for key in keys}
    return {key: of for key, of in values.items() if any(value != of[0] for value in of)}


def _examples(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Examples of the first run, each with the results of every run."""
    positions = [{example.id: i for i, example in enumerate(run.examples)} for run in runs]
    return [
        _example(example)
        | {
            "runs": [
                _result(run, by_id[example.id], example) if example.id in by_id else None
                for run, by_id in zip(runs, positions, strict=True)
            ]
        }
        for example in (runs[0].examples if runs else [])
    ]


def _example(example: ShownExample) -> dict[str, Any]:
    """The fields that are the same in all runs."""
    form = "picture" if example.picture else "sound" if example.spectrum else "text"
    spectrum = None if example.spectrum is None else pack(example.spectrum, bits=8)
    rows = {"rows shown": example.rows_shown} if example.rows_shown else {}
    return {
        "id": example.id,
        "form": form,
        "keys": example.keys,
        "queries": example.queries,
        "gold": example.gold,
        "meta": example.meta,
        "context": example.context | rows,
        "grid": example.grid,
        "size": example.size,
        "picture": example.picture,
        "gold_regions": example.gold_regions and asdict(example.gold_regions),
        "spectrum": spectrum,
    }


def _result(run: ReportedRun, position: int, same: ShownExample) -> dict[str, Any] | None:
    """The answer and maps of one run; None if its example is not the same."""
    example = run.examples[position]
    if (example.gold, len(example.queries)) != (same.gold, len(same.queries)):
        return None
    return {
        "prediction": example.prediction,
        "correct": example.prediction == example.gold,
        "teacher_forced": example.teacher_forced,
        "loss": run.losses.get(example.id),
        "mass": _mass_on_marked(example),
        "map": pack(example.map),
        "gold": pack(example.gold_map),
        "keys": None if example.keys == same.keys else example.keys,  # of another layout
        "grid": example.grid,
        "predicted_regions": example.predicted_regions and asdict(example.predicted_regions),
        "heads": run.heads[position] if position < len(run.heads) else {},
    }


def _mass_on_marked(example: ShownExample) -> float | None:
    """The weight on the keys that the page frames: of soft gold, those above half its peak."""
    weights, gold = np.array(example.map), np.array(example.gold_map)
    rows = gold.any(-1)
    if not rows.any():
        return None
    marked = (gold >= gold.max(-1, keepdims=True) / 2) & (gold > 0)
    return round(float((weights * marked).sum(-1)[rows].mean()), 4)


def provenance(config: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """The command, settings, seed, commit, versions, data and date of a run.

    Args:
        config: the run's config as plain values.
        status: its status.json; facts that older runs did not record are left out.
    """
    overrides: Sequence[str] = status.get("overrides", [])
    settings = [override for override in overrides if not override.startswith(PLACES)]
    started = status.get("started")
    facts = {
        "command": shlex.join(["python", "train.py", *overrides]),
        "differs from the defaults": "\n".join(settings) or "nothing",
        "mechanism": mechanism(config["attention"]),
        "seed": str(config["seed"]),
        "commit": status.get("git_commit") or "",
        "data": status.get("data_digest") or "",
        "versions": ", ".join(f"{k} {v}" for k, v in status.get("versions", {}).items()),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(started)) if started else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def mechanism(attention: Mapping[str, Any]) -> str:
    """The name of a mechanism and its parts: `dot (score dot, normalizer softmax, ...)`."""
    parts = [
        f"{part} {settings['kind']}"
        for part, settings in attention.items()
        if isinstance(settings, dict) and "kind" in settings
    ]
    return f"{attention['name']} ({', '.join(parts)})"


def browser() -> str | None:
    """The path of Chromium on this machine, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def export(
    page: Path, examples: Sequence[ShownExample], folder: Path, count: int = 8
) -> list[Path]:
    """SVG and PNG of every figure of the page, with the maps of the first `count` examples."""
    folder.mkdir(parents=True, exist_ok=True)
    program = browser()
    if program is None:
        return _by_matplotlib(examples[:count], folder)
    return _by_page(program, page, folder, count)


def _by_page(program: str, page: Path, folder: Path, count: int) -> list[Path]:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=60000",
            "--dump-dom", f"{page.absolute().as_uri()}#export={count}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    match = re.search(r'<pre id="exported"[^>]*>(.*?)</pre>', done.stdout, re.DOTALL)
    if not match:
        raise RunError(f"{program}: drew nothing from {page} (exit code {done.returncode})")
    written: list[Path] = []
    for figure, picture in json.loads(unescape(match[1])).items():
        name = file_name(figure)
        svg, png = folder / f"{name}.svg", folder / f"{name}.png"
        svg.write_text(picture["svg"], encoding="utf-8")
        png.write_bytes(base64.b64decode(picture["png"].partition(",")[2]))
        written += [svg, png]
    return written


def _by_matplotlib(examples: Sequence[ShownExample], folder: Path) -> list[Path]:
    written: list[Path] = []
    for example in examples:
        figure = draw_map(example)
        for kind in ("svg", "png"):
            written.append(folder / f"{file_name(example.id)}.{kind}")
            figure.savefig(written[-1], dpi=200)
    return written
