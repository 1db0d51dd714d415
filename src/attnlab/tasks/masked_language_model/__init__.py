"""Texts of which units are masked and predicted from all others. Schema of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from attnlab.config.task import ManyChoices, Task

TARGET = "attnlab.tasks.masked_language_model.task:MaskedLanguageModel"


class MaskedLanguageModel(Task, ManyChoices, kind="masked_language_model", target=TARGET):
    """The answer is what stands at masked positions of one text (Devlin et al. 2019)."""

    answer_forms = ("nothing",)
    map_rows = "input"

    mask_share: float = Field(
        gt=0,
        lt=1,
        description="share of the units that are predicted; of these 8 in 10 are shown as a mask, "
        "1 as another unit, 1 as it is",
    )

    def adapt_answers(self, answers: Any, inputs: Mapping[str, Any]) -> Any:
        """The units of the text itself, in place of nothing."""
        return self.implementation().own_units(inputs)
