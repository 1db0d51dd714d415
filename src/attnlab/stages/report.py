"""`attnlab report RUN [RUN ...]`: runs, their figures and their maps as one HTML page.

The page needs no network and opens from disk. Of several runs it shows the same examples side by
side, and whether their figures differ by more than chance.

    attnlab report runs/dates-recurrent-additive/20260101-120000
    attnlab report runs/dates-*/* --output comparison.html
    attnlab report runs/dates-recurrent-additive/20260101-120000 --export figures
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.errors import UserError
from attnlab.metrics.figures import facts
from attnlab.report.summary import differences, read_figures
from attnlab.stages import trusted_plugins
from attnlab.stages.run import Run, flat, open_run
from attnlab.text_files import DamagedFileError, damage_reported, read_table, write_whole

if TYPE_CHECKING:
    from attnlab.report.page import Curves, ReportedRun
    from attnlab.report.recorded_maps import MapHistory

# Overrides that set a value on which the result depends, but for where files are.
PLACES = r"paths\.|hydra\.|logger\.|trainer\.progress|dataset\.(?!train|supervision|fold)"
VALUE = re.compile(rf"\+*(?!{PLACES})(seed|\w+(\.\w+)+)=.{{1,40}}")
SHOWN = 3  # of them in a title
COMMAND = "write the HTML report of a run"


def main(arguments: list[str]) -> None:
    """Write the page of runs that are evaluated."""
    parser = argparse.ArgumentParser(
        prog="attnlab report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--output", metavar="FILE", help="where the page goes")
    parser.add_argument("--export", metavar="FOLDER", help="figures as SVG and PNG as well")
    trusted_plugins.add_option(parser)
    chosen = parser.parse_args(arguments)
    runs = [open_run(folder, chosen.trust) for folder in chosen.runs]
    output = Path(chosen.output) if chosen.output else None
    if output is None:
        if len(runs) == 1:
            runs[0].require_writable()
        output = runs[0].folder / "report.html" if len(runs) == 1 else Path("comparison.html")
    print(write(runs, output))
    if chosen.export:
        from attnlab.report.examples import load_examples
        from attnlab.report.page import export

        folder = Path(chosen.export)
        pictures = export(output, load_examples(runs[0].folder / "examples.json"), folder)
        print(f"{folder}: {len(pictures)} files")


def write(runs: Sequence[Run], output: Path) -> Path:
    """Write the page from the files of the other stages."""
    from attnlab.report.page import page
    from attnlab.report.tables import PER_EXAMPLE, RESAMPLES, read_scores

    reported = [_reported(run) for run in runs]
    tables = [read_scores(run.folder, RESAMPLES) for run in runs]
    ids = [read_scores(run.folder, PER_EXAMPLE).get("id", []) for run in runs]
    compared = differences([run.figures for run in reported], tables, ids)
    title = one_title(runs[0]) if len(runs) == 1 else _title([run.name for run in reported])
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, page(title, reported, compared))
    except OSError as error:
        raise UserError(f"--output: cannot write {output} ({error.strerror})") from None
    return output


def one_title(run: Run) -> str:
    """The name of a run with the values that its command set, which names leave out."""
    words: Sequence[str] = run.status.get("overrides", [])
    values = [word.lstrip("+") for word in words if VALUE.fullmatch(word)]
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return f"{run.config.name} ({', '.join(values[:SHOWN])}{more})" if values else run.config.name


def _title(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    if len(different) == 1:
        return f"{different[0]}, {len(names)} runs"
    return " against ".join(different) if len(different) <= 3 else f"{len(names)} runs compared"


def _reported(run: Run) -> ReportedRun:
    from attnlab.report.calibration_pictures import read_calibration
    from attnlab.report.classes import read_classes
    from attnlab.report.examples import load_examples
    from attnlab.report.page import ReportedRun, provenance
    from attnlab.report.recorded_maps import load_heads
    from attnlab.report.tables import PER_EXAMPLE, changed_history, read_scores, require_results

    figures = read_figures(run.folder)
    require_results(run.folder, figures.get("files", {}))
    for name in changed_history(run.folder, figures.get("history", {})):
        why = f"changed since the run was evaluated; try: attnlab evaluate {run.folder}"
        print(f"{run.folder / name}: {why}", file=sys.stderr)
    scores = read_scores(run.folder, PER_EXAMPLE)
    return ReportedRun(
        name=run.config.name,
        folder=str(run.folder),
        settings=_settings(run.plain),
        figures=_explained(figures),
        curves=curves(run),
        examples=load_examples(run.folder / "examples.json"),
        heads=load_heads(run.folder),
        losses={i: float(x) for i, x in zip(scores.get("id", []), scores.get("loss", []))},  # noqa: B905
        map_site=run.config.task.map,
        provenance=provenance(run.plain, run.status),
        history=_map_history(run),
        classes=read_classes(run.folder),
        calibration=read_calibration(run.folder),
    )


def _explained(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with the facts about each, which a run may have written itself."""
    known = {name: facts(name) for group in ("answer", "attention") for name in figures[group]}
    about = {name: fact.plain() for name, fact in known.items() if fact is not None}
    return figures | {"about": about | figures.get("about", {})}


def _map_history(run: Run) -> MapHistory:
    """The maps recorded in training, with the validation examples that they belong to."""
    from attnlab.report.recorded_maps import MapHistory, load_frames, map_history
    from attnlab.stages.prepare import prepared_data

    frames = load_frames(run.folder)
    if not frames:
        return MapHistory()
    prepared = prepared_data(run.config)
    return map_history(frames, prepared.examples("val"), prepared.codec)


def _settings(plain: dict[str, Any]) -> dict[str, Any]:
    """The config by dotted keys, without the keys that do not change the result."""
    kept = {key: v for key, v in plain.items() if isinstance(v, dict) or key == "seed"}
    return flat({key: v for key, v in kept.items() if key not in ("paths", "logger")})


def curves(run: Run) -> Curves:
    """Every figure of training and validation over the steps; prints and skips damaged tables."""
    points: Curves = {}
    for path in sorted((run.folder / "history").glob("*.csv")):
        try:
            points |= curves_of(path)
        except DamagedFileError as error:
            problem = str(error).partition("; try: ")[0]
            print(f"{problem}; the report is written without it", file=sys.stderr)
    return points


def curves_of(path: Path) -> Curves:
    """The columns of one table of history; raises a `DamagedFileError`."""
    remedy = "training again"
    table = read_table(path, remedy)
    with damage_reported(path, remedy):
        steps = [int(step) for step in table.pop("step", [])]
        table.pop("epoch", None)
        return {
            f"{path.stem}/{name}": [
                (step, float(v)) for step, v in zip(steps, values, strict=True) if v
            ]
            for name, values in table.items()
        }
