"""Answers that are boxes. The schema of `task=locate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from attnlab.config import combinations
from attnlab.config.task import AnswerForm, Smoothed, Task
from attnlab.errors import Mistake

if TYPE_CHECKING:
    from attnlab.config.schema import Config


class Boxes(AnswerForm, kind="boxes", target="attnlab.tasks.locate.answer:Boxes"):
    """Boxes with their classes."""


class Locate(Task, Smoothed, kind="locate", target="attnlab.tasks.locate.task:Locate"):
    """The answer is a set of boxes with their classes."""

    answer_forms = ("boxes",)

    queries: PositiveInt | Literal["cells"] = Field(
        description="how many learned queries predict a box each (Carion et al. 2020); or cells, "
        "each of which predicts one (a grid head)"
    )
    rounds: int = Field(
        ge=1,
        description="layers of the head; in every one but the first, queries attend to one another",
    )
    box_weight: float = Field(ge=0, description="weight of the boxes' loss beside the classes'")
    none_weight: float = Field(
        gt=0, le=1, description="weight of a query without a box of gold, beside others"
    )

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """Queries that attend to one another have no order, and no position in a picture."""
        yield from super().mistakes(config)
        if self.rounds == 1:
            return
        for part in combinations.PARTS:
            chosen = getattr(config.attention, part)
            if chosen.form in ("recurrent", "picture"):
                problem = f"'{chosen.kind}' does not serve queries that attend to one another"
                yield Mistake(f"attention.{part}", problem, "try: task.rounds=1")
