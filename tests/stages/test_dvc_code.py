"""`dvc.yaml` lists the code of each stage: what the stage imports, and what its settings build.

Write the lists anew with `python -m tests.stages.test_dvc_code`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from attnlab.config.schema import Config
from attnlab.config.section import SLOTS, Section, Variant
from attnlab.data.integrity import dependencies
from tests.commands import REPOSITORY

DVC = REPOSITORY / "dvc.yaml"
MODEL = ("attention", "model", "task")
# The sections of the config whose kinds a stage builds. Data come from the stage before, prepared.
SECTIONS = {
    "prepare": ("dataset",),
    "train": (*MODEL, "objective", "metrics", "trainer"),
    "evaluate": (*MODEL, "metrics"),
    "explain": (*MODEL, "explain"),
    "report": (),
}
# Followed by no stage: what only shows or sends a run while it goes on.
SHOWS = {
    "attnlab.report.logged",
    "attnlab.training.loggers",
    "attnlab.training.progress",
    "attnlab.training.wandb_run",
}
AFTER_TRAINING = {"attnlab.stages.evaluated_split", "attnlab.report.tables"}  # other stages' code
SOURCE = "src/attnlab"
FINE = {"report", "stages", "training"}  # listed file by file: a logger must not train again
MANY = 5  # files of another package from which the package is listed
WHOLE = {"report": {"report"}}  # its pages are made of files that are no modules


def built(section: Any, done: set[Any]) -> Iterator[type[Variant]]:
    """Every kind that a section may hold, whatever its depth."""
    for part in typing.get_args(section):
        yield from built(part, done)
    if not isinstance(section, type) or not issubclass(section, Section) or section in done:
        return
    done.add(section)
    if issubclass(section, Variant):
        if section.target:
            yield section
        if SLOTS.get(section.slot) is section:
            for kind in section.kinds().values():
                yield from built(kind, done)
    for field in section.model_fields.values():
        yield from built(field.annotation, done)


def of_package(kind: type[Variant]) -> Iterator[str]:
    """The modules of a kind's schema and of the class that implements it."""
    if isinstance(kind.target, str):
        yield from (kind.__module__, kind.target.partition(":")[0])


def code_of(stage: str) -> set[str]:
    """The modules that a stage needs, as files."""
    fields, done = Config.model_fields, set()
    kinds = [k for name in SECTIONS[stage] for k in built(fields[name].annotation, done)]
    roots = {f"attnlab.stages.{stage}", *(m for kind in kinds for m in of_package(kind))}
    others = {f"attnlab.stages.{other}" for other in SECTIONS if other != stage}
    without = {*SHOWS, *(others - {"attnlab.stages.prepare"})}
    if stage == "train":
        without |= AFTER_TRAINING
    if stage == "report":
        without = others
    files = dependencies(roots, without).values()
    return {str(path.relative_to(REPOSITORY)) for path in files if path.name != "__init__.py"}


def derived(stage: str) -> list[str]:
    """The code of a stage as `dvc.yaml` lists it: files, or a package where many are needed."""
    parts: dict[str, list[str]] = {}
    for file in code_of(stage):
        parts.setdefault(file.removeprefix(f"{SOURCE}/").partition("/")[0], []).append(file)
    listed = []
    for part, files in parts.items():
        package = part in WHOLE.get(stage, set()) or (part not in FINE and len(files) >= MANY)
        listed += [f"{SOURCE}/{part}"] if package else files
    return sorted(listed)


def written(stage: str) -> list[str]:
    deps = yaml.safe_load(DVC.read_text(encoding="utf-8"))["stages"][stage]["deps"]
    return [each for each in deps if each.startswith("src/")]


@pytest.mark.parametrize("stage", SECTIONS)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    wanted, found = set(derived(stage)), set(written(stage))
    add, remove = sorted(wanted - found), sorted(found - wanted)
    assert (add, remove) == ([], []), "python -m tests.stages.test_dvc_code writes them"


def test_a_logger_does_not_train_again_and_gold_does() -> None:
    train = code_of("train")
    assert not {path for path in train if "wandb" in path or "/report/" in path}
    assert "src/attnlab/data/target.py" in train
    assert "src/attnlab/datasets/targets.py" in code_of("prepare")
    assert {"src/attnlab/attention/mask.py", "src/attnlab/models/transformer.py"} <= train


def write() -> None:
    """Put the derived lists into dvc.yaml."""
    text = DVC.read_text(encoding="utf-8")
    for stage in SECTIONS:
        begin = text.index(f"\n  {stage}:\n")
        deps = re.compile(r"(    deps:\n(?:      - (?!src/).*\n)*)((?:      - src/.*\n)*)")
        match = deps.search(text, begin)
        assert match is not None
        listed = "".join(f"      - {line}\n" for line in derived(stage))
        text = text[: match.start(2)] + listed + text[match.end(2) :]
    DVC.write_text(text, encoding="utf-8")


def test_no_picture_is_shown_twice() -> None:
    """`dvc plots show` draws what a stage declares and what the pipeline declares."""
    content = yaml.safe_load(DVC.read_text(encoding="utf-8"))
    of_stages = {plot for stage in content["stages"].values() for plot in stage.get("plots", [])}
    assert "${run}/maps" in of_stages
    assert not of_stages & {plot for plot in content["plots"] if isinstance(plot, str)}


if __name__ == "__main__":
    write()
