"""Answers that are chosen among texts. The schema of `task=retrieve`."""

from __future__ import annotations

from attnlab.config.task import Smoothed, Task


class Retrieve(Task, Smoothed, kind="retrieve", target="attnlab.tasks.retrieve.task:Retrieve"):
    """The answer is one of many texts: the reply that fits, chosen, not written."""

    answer_forms = ("units",)
    map_rows = "hops"
