"""`attnlab dashboard RUN_OR_PROJECT`: make the W&B workspace of a project.

Its sections are those of the report: answer, attention, trust, maps, training. It needs an
account, and the runs to be in W&B: offline runs are uploaded by what `attnlab sync RUN` prints.

    attnlab dashboard runs/dates-recurrent-additive/20260101-120000
    attnlab dashboard attnlab              all runs of this project below runs/
"""

from __future__ import annotations

import argparse
import functools
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnlab.config.trainer import Logging
from attnlab.errors import UserError, suggest
from attnlab.stages import trusted_plugins
from attnlab.stages.run import Run, open_run
from attnlab.stages.run_folders import LATEST
from attnlab.text_files import DamagedFileError, read_table, read_yaml

if TYPE_CHECKING:
    from attnlab.report.wandb_workspace import Logged

COMMAND = "make the W&B workspace of a project"


def main(arguments: list[str]) -> None:
    """Build the workspace and save it to W&B; print its address."""
    parser = argparse.ArgumentParser(
        prog="attnlab dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="RUN_OR_PROJECT", help="folder of a run, or a project")
    trusted_plugins.add_option(parser)
    options = parser.parse_args(arguments)
    print(save(_runs(options.target, options.trust), options.target))


def save(runs: Sequence[Run], target: str) -> str:
    """The address of the saved workspace; one line of what is missing otherwise."""
    try:
        from attnlab.report.wandb_workspace import workspace
    except ImportError:
        raise UserError(
            "dashboard: needs wandb-workspaces; try: pip install 'attnlab[dashboards]'"
        ) from None
    import wandb
    from wandb.errors import Error as WandbError

    missing = (
        "dashboard: needs a W&B account and the network; "
        f"try: wandb login && attnlab sync {runs[0].folder} && attnlab dashboard {target}"
    )
    if not wandb.login(prompt=False):
        raise UserError(missing)
    settings = runs[0].config.logger
    every = functools.reduce(operator.or_, (logged(run) for run in runs))
    try:
        entity = _entity(settings) or wandb.Api().default_entity or ""
        return workspace(entity, settings.project, every).save().url
    except (WandbError, OSError) as error:
        raise UserError(f"{missing} ({str(error).splitlines()[0]})") from None


def _entity(settings: Logging) -> str | None:
    """The team or user that a run is uploaded to, if its config names one."""
    named = (getattr(each, "entity", None) for each in settings.loggers.values())
    return next(filter(None, named), None)


def logged(run: Run) -> Logged:
    """The keys under which a run logs, from its own files."""
    from attnlab.report.classes import FILE as CLASSES
    from attnlab.report.summary import FINDINGS, read_figures
    from attnlab.report.wandb_workspace import Logged

    figures = read_figures(run.folder)
    own = {group: _defined(figures[group]) for group in ("answer", "attention", "trust")}
    controls = {
        group: [
            f"{who}/{name}" for who, known in figures[group].items() for name in _defined(known)
        ]
        for group in ("controls", "answer_controls")
    }
    return Logged(
        **own,
        **controls,
        curves=[key for file in (run.folder / "history").glob("*.csv") for key in _curves(file)],
        maps=sorted(picture.stem for picture in (run.folder / "maps").glob("*.png")),
        explained=(run.folder / FINDINGS).is_file(),
        classes=(run.folder / CLASSES).is_file(),
    )


def _defined(figures: Mapping[str, float | None]) -> list[str]:
    """The names of those that have a value: others are not logged."""
    return [name for name, value in figures.items() if value is not None]


def _curves(file: Path) -> list[str]:
    columns = read_table(file, "training again")
    return [f"{file.stem}/{name}" for name in columns if name not in ("step", "epoch")]


def _runs(target: str, trusted: bool) -> list[Run]:
    """The run in this folder, or every evaluated run below runs/ that logs to this project."""
    if target == LATEST or (Path(target) / "config.yaml").is_file():
        return [open_run(target, trusted)]
    projects: dict[str, list[Path]] = {}
    for path in sorted(Path("runs").glob("**/metrics.json")):
        projects.setdefault(_project(path.with_name("config.yaml")), []).append(path.parent)
    if target not in projects:
        raise UserError(
            f"{target}: neither a run's folder nor the project of a run below runs/; "
            f"{suggest(target, projects)}"
        )
    return [open_run(folder, trusted) for folder in projects[target]]


def _project(config: Path) -> str:
    """The W&B project that a config names; nothing where the file is not a run's config."""
    if not config.is_file():
        return ""
    try:
        logger = read_yaml(config, "another run").get("logger")
    except DamagedFileError:
        return ""
    return str(logger.get("project", "")) if isinstance(logger, dict) else ""
