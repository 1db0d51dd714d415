"""Answers that are numbers. The schema of `task=regress`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from attnlab.config.recipes import one_answer_recipe
from attnlab.config.task import AnswerForm, Extent, Task


class Numbers(AnswerForm, kind="numbers", target="attnlab.tasks.regress.answer:Numbers"):
    """One or several numbers."""


class Regress(Task, kind="regress", target="attnlab.tasks.regress.task:Regress"):
    """The answer is a number, or several, each with a row of the map."""

    answer_forms = ("numbers",)
    explains = True
    predicts_attention = True

    loss: Literal["mse", "absolute", "huber"] = Field(
        description="of standardised numbers: squared error, absolute error, or squared where it "
        "is small and absolute beyond (Huber 1964)"
    )
    huber_delta: float = Field(
        gt=0,
        description="error from which loss=huber is absolute, in standard deviations of the "
        "training answers",
    )

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        return one_answer_recipe(data, "val/r2")
