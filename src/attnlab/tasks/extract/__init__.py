"""Answers that are units of the input. The schema of `task=extract`."""

from __future__ import annotations

from attnlab.config.task import AnswerForm, Smoothed, Task


class Position(AnswerForm, kind="position", target="attnlab.tasks.extract.answer:Position"):
    """One of the attended units, by its number."""


class Extract(Task, Smoothed, kind="extract", target="attnlab.tasks.extract.task:Extract"):
    """The answer is one of the units of the input: the one that the map lies on."""

    answer_forms = ("position",)
