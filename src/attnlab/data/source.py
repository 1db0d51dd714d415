"""`Source`: where the examples of a dataset come from, be they made or read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attnlab.data.example import Example
from attnlab.data.vocabulary import Vocabulary

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ANSWER = "answer"  # the name of the answer's vocabulary beside those of the inputs


class Source(ABC):
    """Yields the examples of each split; may say more about them."""

    @abstractmethod
    def examples(self, split: Split) -> Iterable[Example]: ...

    def contents(self) -> str:
        """Changes when the files do that the examples come from."""
        return ""

    def notes(self) -> dict[str, Any]:
        """What somebody should know about the examples that were yielded; kept with them."""
        return {}

    def vocabularies(self, training: Iterable[Example]) -> Mapping[str, Vocabulary]:
        """The vocabularies of inputs (and ANSWER) that are more than the units that occur.

        `training` can be gone through several times.
        """
        return {}
