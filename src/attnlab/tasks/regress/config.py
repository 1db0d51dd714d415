"""Schema of `task=regress`."""

from __future__ import annotations

from attnlab.config.task import AnswerForm


class Numbers(AnswerForm, kind="numbers", target="attnlab.tasks.regress.answer:Numbers"):
    """One or several numbers."""
