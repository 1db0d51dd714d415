"""Answers that are maps. The schema of `task=attend`."""

from __future__ import annotations

from attnlab.config.task import AnswerForm, Task


class MapOnly(AnswerForm, kind="nothing", target="attnlab.tasks.attend.answer:MapOnly"):
    """No answer besides the map itself."""


class Attend(Task, kind="attend", target="attnlab.tasks.attend.task:Attend"):
    """The answer is the map itself: gaze, saliency."""

    answer_forms = ("nothing",)
    map_decides = False
