"""Answers that are one item of all. The schema of `task=rank`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Share
from attnlab.config.recipes import until_it_stops_improving
from attnlab.config.task import AnswerForm, Extent, Smoothed, Task
from attnlab.errors import Mistake

if TYPE_CHECKING:
    from attnlab.config.schema import Config


class Item(AnswerForm, kind="item", target="attnlab.tasks.rank.answer:Item"):
    """One of the items that the input `items` is made of."""


class Rank(Task, Smoothed, kind="rank", target="attnlab.tasks.rank.task:Rank"):
    """The answer is an item, one of all there are."""

    answer_forms = ("item",)
    explains = True
    predicts_attention = True

    learn: Literal["answer", "every_position", "masked_positions"] = Field(
        description="what training predicts: each example's answer; or also, at every position of "
        "its items, the next one, so that no state depends on later ones (SASRec, Kang & McAuley "
        "2018); or also items that are masked at random (BERT4Rec, Sun et al. 2019)"
    )
    mask_share: Share = Field(description="share of the items that learn=masked_positions masks")
    repeats: bool = Field(
        description="whether the answer may be one of the example's own items; if not, those are "
        "left out of rankings, and of the loss"
    )

    @model_validator(mode="after")
    def _smooths_over_candidates(self) -> Self:
        if self.label_smoothing and not self.repeats:
            raise ValueError(
                "label_smoothing spreads over items that may not follow; "
                "try: task.label_smoothing=0 or task.repeats=true"
            )
        return self

    @classmethod
    def recipe(cls, data: Extent) -> dict[str, Any]:
        """A small causal Transformer that learns at every position of a history (SASRec).

        It attends to the latest items, nearer ones more (ALiBi).
        """
        if data.form != "history":
            return {}
        size = 16 if data.examples < 2000 else 64
        until = until_it_stops_improving(data.steps(size), 1800, "val/ndcg@10")
        return until | {
            "model": "transformer",
            "attention": "alibi",
            "dataset.longest": 100,
            "task.learn": "every_position",
            "task.repeats": data.repeats,
            "model.dim": 64,
            "model.feedforward_dim": 128,
            "model.embedding_positions": "none",
            "model.bidirectional": False,
            "model.tie": "all",
            "model.dropout": 0.3,
            "model.unit_dropout": 0.1,
            "trainer.batches.size": size,
            "trainer.batches.bucket": 8,
            "trainer.optimizer.lr": 2e-3,
        }

    @property
    def causal(self) -> bool:
        return self.learn == "every_position"

    def mistakes(self, config: Config) -> Iterator[Mistake]:
        """A map that is predicted or trained is that of one answer."""
        yield from super().mistakes(config)
        if self.learn == "answer":
            return
        if config.model.prediction is not None:
            problem = f"predicts the map of one answer; task.learn={self.learn} has many"
            yield Mistake("model.prediction", problem, "try: task.learn=answer")
        if config.objective.on_maps:
            problem = f"losses on maps are those of one answer; task.learn={self.learn} has many"
            yield Mistake("objective", problem, "try: objective=unsupervised, or task.learn=answer")
