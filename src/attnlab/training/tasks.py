"""What is asked: the loss of an answer, and how answers are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.parts import entropy
from attnlab.data.answers import Label, Units
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example, words_of
from attnlab.data.tokenizers import Pieces
from attnlab.errors import UserError
from attnlab.metrics.divergence import KullbackLeibler
from attnlab.metrics.labels import Classification, SpanF1, TokenAccuracy
from attnlab.metrics.saliency import CorrelationCoefficient
from attnlab.metrics.text import (
    CharacterError,
    ExactMatch,
    HeardCharacterError,
    HeardWordError,
    WordError,
)
from attnlab.metrics.translation import Bleu, Chrf, Rouge
from attnlab.models.generator import Spoken
from attnlab.objectives.attention import as_shares, cross_entropy, reachable_gold
from attnlab.training.choice_loss import NOT_COUNTED, choice_loss

TEXT_FIGURES: dict[str, Callable[[], Metric]] = {
    "bleu": partial(Bleu, "none"),
    "chrf": partial(Chrf, word_order=0),
    "rouge": partial(Rouge, stem=False),
    "word_error": WordError,
    "character_error": CharacterError,
    "exact_match": ExactMatch,
}
USUAL_FIGURES = {  # of answers in words, and of others
    True: ("bleu", "chrf", "word_error", "exact_match"),
    False: ("exact_match", "character_error"),
}


class Shared(TypedDict):
    """The settings that every task has."""

    map: str
    label_smoothing: float


class Task:
    """One form of answer: a choice at every place, unless a subclass says otherwise."""

    def __init__(self, codec: Codec, **shared: Unpack[Shared]) -> None:
        self.codec = codec
        self.map, self.label_smoothing = shared["map"], shared["label_smoothing"]

    def loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """The mean over all places of the batch."""
        sums, places = self.losses(scores, batch)
        return sums.sum() / places.sum().clamp_min(1)

    def run(self, model: nn.Module, batch: Batch) -> Any:
        """What the model says of a batch, as far as losses and figures need it."""
        return model(batch)

    def losses(self, scores: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each example's loss, summed over its places, and how many those are: both batch."""
        return self.wrong(scores, self.gold(batch))

    def wrong(self, scores: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the right choices, batch x places."""
        choices = scores.flatten(0, 1)  # of batch x places x choices
        losses = choice_loss(choices, gold.flatten(), self.label_smoothing)
        return losses.view(gold.shape).sum(1), (gold != NOT_COUNTED).sum(1)

    def gold(self, batch: Batch) -> Tensor:
        """The right choice at each place."""
        gold, mask = batch.answer
        return gold.masked_fill(~mask, NOT_COUNTED)

    def metrics(self) -> list[Metric]:
        """What judges answers; the first figure of the first one is the headline."""
        raise NotImplementedError

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Any, answers: Tensor) -> None:
        """Update metrics, by default those that compare texts."""
        given = self.texts(answers, batch)
        gold = batch.references if any(batch.references) else self.texts(batch.answer.values, batch)
        for metric in metrics:
            metric.update(given, gold)

    def texts(self, answers: Tensor, batch: Batch) -> list[str]:
        """Answers to a batch as people read them."""
        return [self.codec.text(answer) for answer in answers.tolist()]

    def know(self, examples: Iterable[Example]) -> None:
        """Take from the training examples what controls are made of."""

    def controls(self, batch: Batch, scores: Any) -> dict[str, tuple[Any, Tensor]]:
        """Scores and answers by name that know nothing of the input, or little, or all.

        `scores` are the model's. Controls of maps are elsewhere.
        """
        return {}

    def rows(self, scores: Any, batch: Batch) -> Tensor | None:
        """Which row of the model's map belongs to which of gold's, where they are in no order.

        batch x rows of the model's map, those of gold first and in its order.
        """
        return None

    def as_gold(self, maps: Tensor, scores: Any, batch: Batch) -> Tensor:
        """Maps (batch x ... x rows x keys) with the rows of gold, in its order."""
        rows = self.rows(scores, batch)
        return maps if rows is None else rows_of(maps, rows[:, : batch.target.row_mask.shape[1]])


def rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Rows of values (batch x ... x rows x width), those of each example by number."""
    shape = *values.shape[:-2], rows.shape[1], values.shape[-1]
    return values.gather(-2, rows.view(len(rows), *(1,) * (values.dim() - 3), -1, 1).expand(shape))


class Generate(Task):
    """The answer is a sequence of units."""

    def __init__(
        self,
        codec: Codec,
        *,
        max_length: int,
        figures: list[str] | None,
        ctc: float,
        decoding: Any,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(codec, **shared)
        self.figures, self.ctc = figures, ctc
        self.max_length = max_length  # decoding is the model's, once it is trained

    def run(self, model: nn.Module, batch: Batch) -> Tensor | Spoken:
        return model(batch, hearing=True) if self.ctc else model(batch)

    def losses(self, scores: Tensor | Spoken, batch: Batch) -> tuple[Tensor, Tensor]:
        if isinstance(scores, Tensor):
            return super().losses(scores, batch)
        written, places = super().losses(scores.scores, batch)
        heard = scores.heard.losses(batch.answer)
        return (1 - self.ctc) * written + self.ctc * heard, places

    def metrics(self) -> list[Metric]:
        assert isinstance(self.codec.answers, Units)
        in_words = bool(self.codec.answers.vocabulary.joint)
        written = [TEXT_FIGURES[name]() for name in self.figures or USUAL_FIGURES[in_words]]
        heard = HeardWordError if in_words else HeardCharacterError
        return [*written, heard()] if self.ctc else written

    def judge(
        self,
        metrics: Iterable[Any],
        batch: Batch,
        scores: Tensor | Spoken,
        answers: Tensor,
    ) -> None:
        of_steps = HeardWordError | HeardCharacterError
        written = [metric for metric in metrics if not isinstance(metric, of_steps)]
        super().judge(written, batch, scores, answers)
        if isinstance(scores, Spoken):
            heard = [metric for metric in metrics if isinstance(metric, of_steps)]
            super().judge(heard, batch, scores, scores.heard.units())


class Classify(Task):
    """The answer is a label."""

    def __init__(self, codec: Codec, *, hops: int, **shared: Unpack[Shared]) -> None:
        super().__init__(codec, **shared)  # how often the model looks is its own business
        self.majority: int | None = None

    def metrics(self) -> list[Metric]:
        assert isinstance(self.codec.answers, Label)
        return [Classification(self.codec.answers.labels)]

    def know(self, examples: Iterable[Example]) -> None:
        """The label that is said most often, be it learned as one or as several."""
        answers = self.codec.answers
        assert isinstance(answers, Label)
        said_as = answers.said_as
        said = Counter(said_as[int(answers.encode(example))] for example in examples)
        said.pop(None, None)  # what is learned and never said
        self.majority = max(said, key=said.__getitem__, default=None)

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The same label every time."""
        if self.majority is None:
            return {}
        return {"majority": (scores, torch.full_like(batch.answer.values, self.majority))}


class Tag(Task):
    """The answer is a tag for each word of the input."""

    def __init__(self, codec: Codec, *, crf: bool, **shared: Unpack[Shared]) -> None:
        super().__init__(codec, **shared)  # whether tags are a chain is the model's business
        self.usual: Tensor | None = None  # the tag that each unit of the input mostly has

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
        counted = mask[:, 1:]  # the last real place, which holds the end mark, does not count
        return gold[:, :-1].masked_fill(~counted, NOT_COUNTED)

    def metrics(self) -> list[Metric]:
        return [SpanF1(), TokenAccuracy()] if self._in_spans() else [TokenAccuracy()]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        gold = self.gold(batch)
        counted = gold != NOT_COUNTED
        for metric in metrics:
            if isinstance(metric, SpanF1):
                rows = zip(answers.tolist(), counted.sum(1).tolist(), strict=True)
                given = [self._tags(tags[:length]) for tags, length in rows]
                metric.update(given, [self._tags(tags) for tags in batch.answer.values.tolist()])
            else:
                metric.update(answers, gold, counted)

    def know(self, examples: Iterable[Example]) -> None:
        """Which tag each word mostly has, and one never seen the tag that most words have."""
        answers, words = self.codec.answers, self.codec.texts.get(self.codec.attended)
        assert isinstance(answers, Units)
        if words is None or isinstance(words, Pieces):
            return  # whose units have no tags of their own
        counts = np.zeros((len(words), len(answers.vocabulary)), np.int64)
        for example in examples:
            read = words.encode(words_of(example.inputs[self.codec.attended]) or [])
            np.add.at(counts, (read, answers.encode(example)[:-1].tolist()), 1)
        never = counts.sum(1) == 0
        counts[never] = counts.sum(0)
        self.usual = torch.from_numpy(counts.argmax(1))

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The usual tag of each word, whatever stands beside it."""
        if self.usual is None:
            return {}
        units = batch.inputs[self.codec.attended].values  # batch x length
        return {"usual_tag": (scores, self.usual.to(units.device)[units])}

    def _tags(self, numbers: list[int]) -> list[str]:
        assert isinstance(self.codec.answers, Units)
        return self.codec.answers.vocabulary.decode(numbers)

    def _in_spans(self) -> bool:
        """Whether tags mark the begin and inside of spans (BIO)."""
        assert isinstance(self.codec.answers, Units)
        tags = self.codec.answers.vocabulary.units
        return "O" in tags and any(tag.startswith(("B-", "I-")) for tag in tags)


class Extract(Task):
    """The answer is a unit of the input."""

    def metrics(self) -> list[Metric]:
        return [Rouge(stem=False), ExactMatch()]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        """What is said against the references, and which unit it is against the right one."""
        given, right = self.texts(answers, batch), self.texts(batch.answer.values, batch)
        for metric in metrics:
            compared = isinstance(metric, Rouge) and any(batch.references)
            metric.update(given, batch.references if compared else right)

    def texts(self, answers: Tensor, batch: Batch) -> list[str]:
        chosen = zip(batch.choices, answers[:, 0].tolist(), strict=True)
        return [choices[int(place)] for choices, place in chosen]

    def controls(self, batch: Batch, scores: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The first unit, and the right one."""
        right = batch.answer.values
        return {"lead": (scores, torch.zeros_like(right)), "oracle": (scores, right)}


class Attend(Task):
    """The answer is the map: its divergence from gold is the loss."""

    def losses(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores are log weights: batch x heads x rows x keys."""
        log_weights = as_shares(scores.float())
        gold, rows = reachable_gold(log_weights, batch.target), batch.target.rows()
        divergence = (cross_entropy(log_weights, gold) - entropy(gold)).mean(1)  # batch x rows
        return (divergence * rows).sum(1), rows.sum(1)

    def metrics(self) -> list[Metric]:
        return [CorrelationCoefficient(), KullbackLeibler()]

    def judge(self, metrics: Iterable[Any], batch: Batch, scores: Tensor, answers: Tensor) -> None:
        for metric in metrics:
            metric.update(batch.over_words(answers), batch.judged)
