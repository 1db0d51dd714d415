"""Answers that are a class for each pixel. The schema of `task=segment`."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.task import AnswerForm, Smoothed, Task


class Pixels(AnswerForm, kind="pixels", target="attnlab.tasks.segment.answer:Pixels"):
    """A class for every pixel."""


class Segment(Task, Smoothed, kind="segment", target="attnlab.tasks.segment.task:Segment"):
    """The answer is a class for each pixel."""

    answer_forms = ("pixels",)

    gated: bool = Field(
        description="whether fine features pass through gates that coarser ones open (Oktay et al. "
        "2018), on the way back to pixels"
    )
