"""Mistakes across groups: asks every section of a config (`Section.mistakes`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attnlab.config import combinations
from attnlab.config.decoding import Beam
from attnlab.config.schema import Config
from attnlab.config.section import Section
from attnlab.config.task import Generate, Locate, Rank
from attnlab.errors import Mistake


def broken_rules(config: Config) -> Iterator[Mistake]:
    """Mistakes that no single field shows."""
    for where, section in sections(config):
        for mistake in section.mistakes(config):
            of_section = mistake.where.startswith(".")
            key = (where + mistake.where).lstrip(".") if of_section else mistake.where
            yield Mistake(key, mistake.problem, mistake.hint)
    for rule in (_rounds, _coverage, _one_answer):
        yield from rule(config)


def sections(value: Any, where: str = "") -> Iterator[tuple[str, Section]]:
    """A section and every section within it, each with its full key; the outermost has none."""
    if isinstance(value, Section):
        yield where, value
        inner = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, dict):
        inner = value
    else:
        return
    for name, each in inner.items():
        yield from sections(each, f"{where}.{name}" if where else str(name))


def _rounds(config: Config) -> Iterator[Mistake]:
    """Queries that tell one another what they found stand in no order, and in no picture."""
    if not isinstance(config.task, Locate) or config.task.rounds == 1:
        return
    for part in combinations.PARTS:
        chosen = getattr(config.attention, part)
        if combinations.form(chosen) in ("recurrent", "picture"):
            problem = (
                f"'{chosen.kind}' does not serve queries that tell one another what they found"
            )
            yield Mistake(f"attention.{part}", problem, "try: task.rounds=1")


def _coverage(config: Config) -> Iterator[Mistake]:
    """A search that counts what was looked at needs a map that is made step by step."""
    task = config.task
    if not isinstance(task, Generate) or not isinstance(task.decoding, Beam):
        return
    if task.decoding.coverage_penalty and not task.map.startswith("decoder.cross"):
        problem = f"task.map '{task.map}' is not made step by step"
        hint = "set task.decoding.coverage_penalty=0, or task.map=decoder.cross.-1"
        yield Mistake("task.decoding.coverage_penalty", problem, hint)


def _one_answer(config: Config) -> Iterator[Mistake]:
    """A map that is predicted or supervised is that of one answer."""
    task, objective = config.task, config.objective
    if not isinstance(task, Rank) or task.learn == "answer":
        return
    if config.model.prediction is not None:
        problem = f"predicts where one answer looks; task.learn={task.learn} has one for each place"
        yield Mistake("model.prediction", problem, "try: task.learn=answer")
    if objective.on_maps:
        problem = f"losses on maps are those of one answer; task.learn={task.learn} has many"
        yield Mistake("objective", problem, "try: objective=unsupervised, or task.learn=answer")
