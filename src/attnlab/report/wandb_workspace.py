"""A W&B workspace with the sections of the report, for any project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

NAME = "Answer, attention, trust"
STEP = "trainer/global_step"


@dataclass
class Logged:
    """The keys under which runs log, by section."""

    answer: list[str] = field(default_factory=list)  # figures of the test split
    attention: list[str] = field(default_factory=list)
    trust: list[str] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)  # of control maps: uniform/mass_on_gold
    answer_controls: list[str] = field(default_factory=list)  # of control answers: linear/accuracy
    curves: list[str] = field(default_factory=list)  # train/loss, val/loss, ...
    maps: list[str] = field(default_factory=list)  # names of pictures
    explained: bool = False  # whether `attnlab explain` was run
    classes: bool = False  # whether answers are classes

    def __or__(self, other: Logged) -> Logged:
        """What either logs, each key once."""
        both: dict[str, Any] = {}
        for name in (each.name for each in fields(self)):
            one, two = getattr(self, name), getattr(other, name)
            both[name] = one or two if isinstance(one, bool) else list(dict.fromkeys([*one, *two]))
        return Logged(**both)


def workspace(entity: str, project: str, logged: Logged) -> ws.Workspace:
    """The workspace of a project whose runs log these keys; not saved yet."""
    sections = {
        "Answer": _answer(logged),
        "Attention": _attention(logged),
        "Trust": _trust(logged),
        "Maps": _maps(logged),
        "Training": _training(logged),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
    )


def _answer(logged: Logged) -> list[wr.BarPlot | wr.MediaBrowser | wr.WeavePanelSummaryTable]:
    """Each figure beside its controls; of classes also the confusion matrix and their table."""
    bars = _beside("answer", logged.answer, "answer_controls", logged.answer_controls)
    if not logged.classes:
        return bars
    return [*bars, _pictures("confusion", ["panels/confusion"]), _table("classes")]


def _attention(logged: Logged) -> list[wr.BarPlot | wr.MediaBrowser | wr.WeavePanelSummaryTable]:
    """Each figure beside its controls; with intervals as a picture and as a table."""
    beside = _beside("attention", logged.attention, "controls", logged.controls)
    return [*beside, _pictures("with intervals", ["panels/plausibility"]), _table("plausibility")]


def _trust(logged: Logged) -> list[wr.BarPlot | wr.MediaBrowser | wr.WeavePanelSummaryTable]:
    """The share of answers that other maps change, and the findings of the tests of the map."""
    changed = [_bars(f"changed by a {name} map", [f"test/trust/{name}"]) for name in logged.trust]
    pictures, tables = ["panels/trust"], [_table("trust")]
    if logged.explained:
        pictures, tables = [*pictures, "panels/findings"], [*tables, _table("findings")]
    return [*changed, _pictures("with intervals", pictures), *tables]


def _maps(logged: Logged) -> list[wr.MediaBrowser | wr.WeavePanelSummaryTable]:
    """Pictures of maps and of every head, and the table of examples."""
    heads = [name for name in logged.maps if name.endswith("-heads")]
    own = [name for name in logged.maps if name not in heads]
    rows = {"the evaluated map": own, "every layer and head": heads}
    media = [_pictures(says, [f"maps/{n}" for n in names]) for says, names in rows.items() if names]
    return [*media, _table("examples")]


def _training(logged: Logged) -> list[wr.LinePlot]:
    """Training and validation of a figure in one plot."""
    names = dict.fromkeys(key.partition("/")[2] for key in logged.curves)
    return [
        wr.LinePlot(title=_words(name), x=STEP, y=[key for key in logged.curves if _is(key, name)])
        for name in names
    ]


def _is(key: str, name: str) -> bool:
    return key.partition("/")[2] == name


def _beside(group: str, names: Iterable[str], controls: str, known: Iterable[str]) -> list[Any]:
    """Each figure of the test split beside the controls that have it."""
    return [
        _bars(
            name,
            [
                f"test/{group}/{name}",
                *(f"{controls}/{each}" for each in known if each.partition("/")[2] == name),
            ],
        )
        for name in names
    ]


def _bars(title: str, keys: Sequence[str]) -> wr.BarPlot:
    return wr.BarPlot(title=_words(title), metrics=list(keys))


def _pictures(title: str, keys: Iterable[str]) -> wr.MediaBrowser:
    return wr.MediaBrowser(title=title, media_keys=list(keys), num_columns=2)


def _table(name: str) -> wr.WeavePanelSummaryTable:
    return wr.WeavePanelSummaryTable(table_name=name)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ": ")
