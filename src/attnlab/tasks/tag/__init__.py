"""Answers that are a tag for each unit of the input. The schema of `task=tag`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from attnlab.config.recipes import text_recipe
from attnlab.config.task import Extent, Smoothed, Task


class Tag(Task, Smoothed, kind="tag", target="attnlab.tasks.tag.task:Tag"):
    """The answer is a tag for each word of the input."""

    answer_forms = ("units",)
    map_rows = "input"
    explains = True
    attention_roles = ("self",)

    @classmethod
    def learns(cls, dataset: Any) -> bool:
        """Tags are as many as the words of the input; texts are as long as they are."""
        return super().learns(dataset) and dataset.answers_each_unit is not False

    crf: bool = Field(
        description="tags depend on the tag before, and are chosen together (a linear-chain "
        "conditional random field, Lafferty et al. 2001); otherwise each by itself"
    )

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        if data.form != "text":
            return {}
        headline = "val/span_f1" if data.spans else "val/token_accuracy"
        return text_recipe(data, headline) | {
            "task.crf": True,
            "model.dim": 200,
            "model.embedding_dim": 100,
            "trainer.optimizer.lr": 4e-3,
        }
