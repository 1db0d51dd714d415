"""`Tag`: the answer is a tag for each word of the input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.config.evaluation import Combine
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.example import Example, words_of
from attnlab.data.tokenizers import Pieces
from attnlab.data.vocabulary import UNKNOWN, Vocabulary
from attnlab.errors import UserError
from attnlab.metrics.answers import SpanF1, TokenAccuracy
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.choices import ChoiceSettings, ChoiceTask
from attnlab.tasks.generate.answer import Units
from attnlab.tasks.linear import LinearTagger
from attnlab.tasks.tag.head import TagChain, Tagger
from attnlab.tasks.task import HeadContext


class Tag(ChoiceTask):
    """A choice of a tag for each word."""

    def __init__(self, codec: Codec, *, crf: bool, **shared: Unpack[ChoiceSettings]) -> None:
        super().__init__(codec, **shared)
        self.crf = crf
        self.linear: LinearTagger | None = None
        self.usual: Tensor | None = None  # the commonest tag of each unit of the input

    @property
    def tags(self) -> Vocabulary:
        """All tags, the special units among them."""
        assert isinstance(self.codec.answers, Units)
        return self.codec.answers.vocabulary

    def head(self, context: HeadContext) -> nn.Module:
        units = self.tags.units
        chain = TagChain(units) if self.crf else None
        return Tagger(context, len(units), chain)

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        units, tags = scores.shape[1], batch.answer.values.shape[1] - 1
        if units != tags:
            raise UserError(
                f"task.kind: 'tag' needs a tag for each word; here are {tags} for {units} words. "
                "Did you mean 'generate'?"
            )
        return super().losses(scores, batch)

    def gold(self, batch: Batch) -> Tensor:
        """The tags without the end mark that every sequence of units has: batch x length."""
        gold, mask = batch.answer
        counted = mask[:, 1:]  # the last real position, which holds the end mark, does not count
        return gold[:, :-1].masked_fill(~counted, NOT_COUNTED)

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        if self.crf:
            problem = "several chains of tags cannot answer as one"
            raise UserError(f"task.crf: {problem}; try: runs with task.crf=false")
        return super().combine(outputs, how)

    def graded(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The tag of each word; in a chain a tag has no probability of its own."""
        return None if self.crf else (scores, self.gold(batch))

    def metrics(self) -> list[Metric]:
        return [SpanF1(), TokenAccuracy()] if self._in_spans() else [TokenAccuracy()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor
    ) -> None:
        gold = self.gold(batch)
        counted = gold != NOT_COUNTED
        for metric in metrics:
            if isinstance(metric, SpanF1):
                rows = zip(answers.tolist(), counted.sum(1).tolist(), strict=True)
                predicted = [self.tags.decode(tags[:length]) for tags, length in rows]
                metric.update(
                    predicted, [self.tags.decode(tags) for tags in batch.answer.values.tolist()]
                )
            else:
                metric.update(answers, gold, counted)

    def fit(self, examples: Sequence[Example]) -> None:
        """A linear tagger; and the commonest tag of each word, for a word without any that of
        most words."""
        examples = list(examples)
        known = [(words_of(e.inputs[self.codec.attended]), e.answer) for e in examples]
        self.linear = LinearTagger().fit((w, t) for w, t in known if w and len(w) == len(t))  # type: ignore[arg-type]
        name, answers = self.codec.attended, self.codec.answers
        words = self.codec.texts.get(name)
        if words is None or isinstance(words, Pieces):
            return  # whose units have no tags of their own
        counts = np.zeros((len(words), len(self.tags)), np.int64)
        for example in examples:
            units = self._known(torch.tensor(words.encode(words_of(example.inputs[name]) or [])))
            np.add.at(counts, (units.numpy(), answers.encode(example)[:-1].tolist()), 1)
        never = counts.sum(1) == 0
        counts[never] = counts.sum(0)
        self.usual = torch.from_numpy(counts.argmax(1))

    def controls(
        self, batch: Batch, scores: Tensor, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The usual tag of each word, whatever stands beside it, and that of a linear tagger."""
        controls = {}
        if self.usual is not None:
            units = self._known(batch.inputs[self.codec.attended].values)  # batch x length
            controls["usual_tag"] = scores, self.usual.to(units.device)[units]
        if self.linear is not None:
            tags = torch.zeros_like(self.gold(batch))
            for row, example in zip(tags, examples, strict=True):
                words = words_of(example.inputs[self.codec.attended])
                numbers = self.tags.encode(self.linear.predict(words))
                row[: len(numbers)] = torch.tensor(numbers)
            controls["linear"] = scores, tags
        return controls

    def _known(self, units: Tensor) -> Tensor:
        """Units of the vocabulary; words outside it, known by their letters, become unknown."""
        return units.masked_fill(units >= len(self.codec.texts[self.codec.attended]), UNKNOWN)

    def decide(self, model: nn.Module, batch: Batch) -> Padded:
        assert isinstance(model, Tagger)
        return Padded(model.answer(batch), model.words(batch).mask)

    def decision_rows(self, model: nn.Module, batch: Batch, rows: Tensor) -> Tensor:
        """The row of each word's first piece."""
        assert isinstance(model, Tagger)
        first = model.words(batch).values[..., None]
        return rows.gather(1, first.expand(-1, -1, rows.shape[-1]))

    def _in_spans(self) -> bool:
        """Whether tags mark the begin and inside of spans (BIO)."""
        tags = self.tags.units
        return "O" in tags and any(tag.startswith(("B-", "I-")) for tag in tags)
