"""`Generate`: the answer is a sequence of units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from attnlab.attention.eviction import Evicting, evicting
from attnlab.config.evaluation import Combine
from attnlab.config.task import Eviction as EvictionConfig
from attnlab.data.batch import Batch, Padded
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.vocabulary import EOS
from attnlab.errors import UserError
from attnlab.metrics.text import (
    Bleu,
    CharacterError,
    Chrf,
    CtcCharacterError,
    CtcWordError,
    ExactMatch,
    Rouge,
    WordError,
)
from attnlab.models.ensemble import members
from attnlab.models.units import Scores
from attnlab.tasks.choices import ManyChoices, UnitSettings
from attnlab.tasks.generate import Decoding as DecodingConfig
from attnlab.tasks.generate.answer import Units
from attnlab.tasks.generate.decoding import Decoded, Decoding, Greedy
from attnlab.tasks.generate.head import CtcHead, Generator, JointScores
from attnlab.tasks.linear import NearestAnswer
from attnlab.tasks.task import HeadContext, Prediction

TEXT_FIGURES: dict[str, Callable[[], Metric]] = {
    "bleu": partial(Bleu, "none"),
    "chrf": partial(Chrf, word_order=0),
    "rouge": partial(Rouge, stem=False),
    "word_error": WordError,
    "character_error": CharacterError,
    "exact_match": ExactMatch,
}
DEFAULT_FIGURES = {  # of answers in words, and of others
    True: ("bleu", "chrf", "word_error", "exact_match"),
    False: ("exact_match", "character_error"),
}


class Generate(ManyChoices):
    """A choice of a unit at every position, given the units before it."""

    def __init__(
        self,
        codec: Codec,
        *,
        max_length: int,
        figures: list[str] | None,
        ctc: float,
        decoding: DecodingConfig,
        eviction: EvictionConfig,
        **shared: Unpack[UnitSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.figures, self.ctc, self.max_length = figures, ctc, max_length
        self.decoding_config, self.eviction_config = decoding, eviction
        self.decoding: Decoding = Greedy()
        self.eviction: Evicting | None = None
        self.nearest: NearestAnswer | None = None  # where texts are attended to

    @property
    def units(self) -> Units:
        """The form of the answers."""
        assert isinstance(self.codec.answers, Units)
        return self.codec.answers

    def head(self, context: HeadContext) -> nn.Module:
        builder, size = context.builder, len(self.units.vocabulary)
        decoder = builder.decoder(size, context.attention)
        ctc = CtcHead(builder.dim, size) if self.ctc else None
        prediction = context.prediction(self.max_length)
        model = Generator(
            context.reader, prediction, decoder, self.max_length, builder.unit_dropout, ctc
        )
        return self.limited(model)

    def run(self, model: nn.Module, batch: Batch) -> Scores | JointScores:
        return model(batch, ctc=True) if self.ctc else model(batch)

    def losses(self, scores: Scores | JointScores, batch: Batch) -> tuple[Tensor, Tensor]:
        if not isinstance(scores, JointScores):
            return super().losses(scores, batch)
        decoded, counts = super().losses(scores.decoder, batch)
        return (1 - self.ctc) * decoded + self.ctc * scores.ctc.losses(batch.answer), counts

    def combine(self, outputs: Sequence[Any], how: Combine) -> Any:
        if not isinstance(outputs[0], JointScores):
            return super().combine(outputs, how)
        raise UserError("task.ctc: several models cannot answer as one; try: runs with task.ctc=0")

    def use_decoding(self) -> None:
        self.decoding = self.decoding_config.build()
        self.eviction = self.eviction_config.build()

    @torch.no_grad()
    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """The best answer: batch x length, ending with the end mark."""
        return self._decoded(model, batch).units[:, 0]

    def _decoded(self, model: nn.Module, batch: Batch) -> Decoded:
        assert isinstance(model, Generator)
        with evicting([each.model for each in members(model)], self.eviction):
            return model.decode(batch, self.decoding, self.tap(model))

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        """Texts, each with the map of a pass that reads it as if it were gold."""
        decoded = self._decoded(model, batch)
        vocabulary = self.units.vocabulary
        predictions: list[list[Prediction]] = [[] for _ in range(len(batch))]
        for rank in range(min(decoded.units.shape[1], most)):
            units = decoded.units[:, rank]
            with self.tap(model) as tap:
                model(replace(batch, answer=Padded(units, before_end(units))))
            maps = tap.weights().float().mean(1)
            for i, score in enumerate(decoded.scores[:, rank].tolist()):
                if score > float("-inf"):
                    words, rows = vocabulary.read(units[i].tolist())
                    text = vocabulary.joint.join(words)
                    predictions[i].append(Prediction(text, score, maps[i], words, rows))
        return predictions

    def metrics(self) -> list[Metric]:
        in_words = bool(self.units.vocabulary.joint)
        decoded = [TEXT_FIGURES[name]() for name in self.figures or DEFAULT_FIGURES[in_words]]
        of_steps = CtcWordError if in_words else CtcCharacterError
        return [*decoded, of_steps()] if self.ctc else decoded

    def update_metrics(
        self,
        metrics: Iterable[Any],
        batch: Batch,
        scores: Scores | JointScores,
        answers: Tensor,
    ) -> None:
        of_steps = CtcWordError | CtcCharacterError
        decoded = [metric for metric in metrics if not isinstance(metric, of_steps)]
        super().update_metrics(decoded, batch, scores, answers)
        if isinstance(scores, JointScores):
            ctc = [metric for metric in metrics if isinstance(metric, of_steps)]
            super().update_metrics(ctc, batch, scores, scores.ctc.units())

    def fit(self, examples: Sequence[Example]) -> None:
        if self.codec.attended in self.codec.texts:
            self.nearest = NearestAnswer(self.codec.attended).fit(examples)

    def controls(
        self, batch: Batch, scores: Tensor | JointScores, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor | JointScores, Tensor]]:
        """The answer to the training text that is most alike."""
        if self.nearest is None:
            return {}
        texts = self.nearest.predict([examples[i] for i in range(len(examples))])
        spelled = [self.units.spell(text) for text in texts]
        answers = nn.utils.rnn.pad_sequence(spelled, batch_first=True, padding_value=EOS)
        return {"nearest": (scores, answers.to(batch.answer.values))}

    def decide(self, model: nn.Module, batch: Batch) -> Padded:
        units = self.answer(model, batch)
        return Padded(units, before_end(units))


def before_end(units: Tensor) -> Tensor:
    """Which units belong to an answer, its end mark included: batch x length, bool."""
    ends = (units == EOS).long()
    return ends.cumsum(1) - ends == 0
