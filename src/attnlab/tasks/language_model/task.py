"""`LanguageModel`: the answer is the next unit of one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from attnlab.attention.eviction import Evicting, evicting, evicts
from attnlab.config.task import Eviction as EvictionConfig
from attnlab.data.batch import Batch
from attnlab.data.codec import Codec
from attnlab.data.example import Example, named
from attnlab.data.groups import Groups
from attnlab.data.inputs import Input, Text
from attnlab.data.vocabulary import PAD, Vocabulary
from attnlab.errors import UserError
from attnlab.metrics.answers import TokenAccuracy
from attnlab.metrics.text import Perplexity
from attnlab.models.builder import TextEmbedder
from attnlab.models.causal_decoder import CausalDecoder
from attnlab.models.ensemble import OpenTap, joint_decoder, members
from attnlab.models.memory import Memory, Reader
from attnlab.models.units import Scores, whole
from attnlab.tasks.choice_loss import NOT_COUNTED, choice_loss
from attnlab.tasks.choices import ManyChoices, UnitSettings
from attnlab.tasks.generate import Decoding as DecodingConfig
from attnlab.tasks.generate.answer import Units
from attnlab.tasks.generate.decoding import Decoded, Decoding, Greedy
from attnlab.tasks.task import HeadContext, Prediction


@dataclass(frozen=True, kw_only=True)
class NextUnits(Units):
    """The units of an input, without an end mark; row t of a map is about predicting unit t."""

    source: str  # the name of the input

    def encode(self, example: Example) -> Tensor:
        """length."""
        return torch.tensor(self.vocabulary.encode(example.inputs[self.source]))  # type: ignore[arg-type]

    def row_names(self, example: Example, rows: int) -> list[str]:
        return named(example.inputs[self.source])

    def respelled(self, vocabulary: Vocabulary) -> NextUnits:
        return replace(self, vocabulary=vocabulary)

    def resampled(self, random: Random) -> NextUnits:
        return replace(self, vocabulary=self.vocabulary.varied(random))

    def word_groups(self, example: Example) -> Groups:
        return self.vocabulary.groups(example.inputs[self.source])  # type: ignore[arg-type]


class CausalLanguageModel(nn.Module):
    """A causal decoder of a text without marks, whose first unit is not predicted.

    The decoder's embedding and encoder are those of the reader, so that keys of maps are the units
    of the text.
    """

    def __init__(self, decoder: CausalDecoder, name: str, unit_dropout: float, dim: int) -> None:
        super().__init__()
        decoder.marks = False
        embedder = TextEmbedder(decoder.embedding, unit_dropout)
        self.reader = Reader({name: embedder}, decoder.encoder, name, True, None, dim, dim)
        self.decoder = decoder

    def forward(self, batch: Batch) -> Scores:
        """Scores of the unit after each: batch x length x vocabulary.

        A text is one pass, or, where keys are evicted as units come, a step a unit. Where processes
        share texts, the length is that of a part.
        """
        if batch.part is not None:
            units = batch.part.of(batch.inputs[self.reader.attended].values, PAD)
            (embedder,) = self.reader.embedders
            shown = embedder.unit_dropout(units)  # type: ignore[operator]
            return self.decoder.of_part(shown, batch.part)
        if not evicts(self):
            return self.decoder.scores(self.reader(batch).memory.values)
        units = batch.inputs[self.reader.attended].values
        state = self.decoder.start(prompts(units[:, :1]))
        steps = (self.decoder.advance(u[:, None], state) for u in units.unbind(1))
        return torch.cat([whole(step) for step in steps], 1)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The text with each unit but the first as predicted from the true ones before it.

        batch x length.
        """
        units = batch.inputs[self.reader.attended].values
        return torch.cat([units[:, :1], self(batch).argmax(-1)[:, :-1]], 1)

    @torch.no_grad()
    def continued(self, units: Tensor, decoding: Decoding, longest: int, tap: OpenTap) -> Decoded:
        """Continuations of prompts of one length, batch x length, by a way of decoding."""
        memory = prompts(units)
        decoder, memory = joint_decoder(self, lambda each: (each.decoder, memory))
        return decoding(decoder, memory, longest, tap)


def prompts(units: Tensor) -> Memory:
    """Prompts of one length, batch x length, as a causal decoder takes them."""
    return Memory(units, torch.ones_like(units, dtype=torch.bool))


class UnitTask(ManyChoices):
    """Predicts units of one text."""

    def __init__(self, codec: Codec, **shared: Unpack[UnitSettings]) -> None:
        super().__init__(codec, **shared)
        self.unigram: Tensor | None = None  # log probabilities of the units

    @classmethod
    def own_units(cls, inputs: Mapping[str, Input]) -> NextUnits:
        """The form of the answers: the units of the one text there is."""
        (name, text), *others = inputs.items()
        if others or not isinstance(text, Text):
            forms = ", ".join(f"{name} ({each.form})" for name, each in inputs.items())
            raise UserError(f"task.kind: a language model learns one text; the data hold {forms}")
        return NextUnits(text.vocabulary, source=name)

    @property
    def units(self) -> NextUnits:
        """The form of the answers."""
        assert isinstance(self.codec.answers, NextUnits)
        return self.codec.answers

    def check_inputs(self, names: Sequence[str]) -> None:
        raise UserError(f"task.kind: a language model learns one text, not {', '.join(names)}")

    def fit(self, examples: Sequence[Example]) -> None:
        """How often each unit occurs, one more than counted."""
        counts = torch.ones(len(self.units.vocabulary))
        for example in examples:
            counts += self.units.encode(example).bincount(minlength=len(counts))
        self.unigram = (counts / counts.sum()).log()


class LanguageModel(UnitTask):
    """A choice of a unit after each; scores at a position are those of the unit after it."""

    def __init__(
        self,
        codec: Codec,
        *,
        max_length: int,
        context: int | None,
        decoding: DecodingConfig,
        eviction: EvictionConfig,
        **shared: Unpack[UnitSettings],
    ) -> None:
        super().__init__(codec, **shared)
        self.max_length, self.context = max_length, context
        self.decoding_config, self.eviction_config = decoding, eviction
        self.decoding: Decoding = Greedy()
        self.eviction: Evicting | None = None

    def head(self, context: HeadContext) -> nn.Module:
        builder = context.builder
        decoder = builder.causal_decoder(self.units.vocabulary, context.attention)
        assert isinstance(decoder, CausalDecoder)
        dropout, dim = builder.unit_dropout, builder.dim
        return self.limited(CausalLanguageModel(decoder, self.codec.attended, dropout, dim))

    def run(self, model: nn.Module, batch: Batch) -> Scores:
        with self._evicting(model):
            return super().run(model, batch)

    def _evicting(self, model: nn.Module) -> AbstractContextManager[None]:
        return evicting([each.model for each in members(model)], self.eviction)

    # Training

    def gold(self, batch: Batch) -> Tensor:
        """The unit after each; the last has none: batch x length, or length of a part."""
        units, mask = batch.inputs[self.codec.attended]
        following = units.masked_fill(~mask, NOT_COUNTED)[:, 1:]
        gold = F.pad(following, (0, 1), value=NOT_COUNTED)
        return gold if batch.part is None else batch.part.of(gold, NOT_COUNTED)

    def rows(self, scores: Any, batch: Batch) -> Tensor:
        """Unit t is predicted at position t - 1; the row of the first unit means nothing."""
        units = batch.inputs[self.codec.attended].values
        length = units.shape[1]
        before = torch.arange(-1, length - 1, device=units.device).clamp_min(0)
        return before.expand(len(units), length)

    # Metrics

    def metrics(self) -> list[Metric]:
        return [Perplexity(), TokenAccuracy()]

    def update_metrics(
        self, metrics: Iterable[Any], batch: Batch, scores: Scores, answers: Tensor
    ) -> None:
        gold = self.gold(batch)
        counted = gold != NOT_COUNTED
        for metric in metrics:
            if isinstance(metric, Perplexity):
                losses = choice_loss(scores.flatten(0, 1), gold.flatten()).view(gold.shape)
                metric.update(losses.sum(1), counted.sum(1))
            else:
                metric.update(answers[:, 1:], gold[:, :-1], counted[:, :-1])

    def changed(self, own: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """The share of units whose prediction is another one."""
        counted = batch.inputs[self.codec.attended].mask[:, 1:]
        differ = (own != other)[:, 1:] & counted
        return differ.sum(1) / counted.sum(1).clamp_min(1)

    # Controls

    def controls(
        self, batch: Batch, scores: Scores, examples: Sequence[Example]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The frequencies of the units, whatever stands before."""
        if self.unigram is None:
            return {}
        units = batch.inputs[self.codec.attended].values
        usual = torch.full_like(units, int(self.unigram.argmax()))
        return {"unigram": (self.unigram.to(units.device).expand(*units.shape, -1), usual)}

    # Answers

    def use_decoding(self) -> None:
        self.decoding = self.decoding_config.build()
        self.eviction = self.eviction_config.build()

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        with self._evicting(model):
            return super().answer(model, batch)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch, most: int) -> list[list[Prediction]]:
        """Continuations of the inputs, those of one length together."""
        units, mask = batch.inputs[self.codec.attended]
        lengths = mask.sum(1)
        predictions: list[list[Prediction]] = [[] for _ in range(len(batch))]
        for length in lengths.unique().tolist():
            chosen = (lengths == length).nonzero()[:, 0]
            continued = self._continued(model, units[chosen, :length], most)
            for i, each in zip(chosen.tolist(), continued, strict=True):
                predictions[i] = each
        return predictions

    def _continued(self, model: nn.Module, prompts: Tensor, most: int) -> list[list[Prediction]]:
        """Continuations with the maps over their prompts, which are batch x length."""
        assert isinstance(model, CausalLanguageModel)
        longest = prompts.shape[1] if self.context is None else self.context - self.max_length
        kept = prompts[:, -longest:]
        length = kept.shape[1]
        tap = self.tap(model)
        with self._evicting(model):
            decoded = model.continued(kept, self.decoding, self.max_length, tap)
        vocabulary = self.units.vocabulary
        predictions: list[list[Prediction]] = [[] for _ in range(len(prompts))]
        for units, scores in zip(
            decoded.units.unbind(1)[:most], decoded.scores.unbind(1), strict=False
        ):
            with self.tap(model) as tap:
                for each in members(model):
                    each.model.decoder(torch.cat([kept, units[:, :-1]], 1))  # type: ignore[operator]
            maps = tap.weights().float().mean(1)[:, length - 1 :, :length]
            maps = F.pad(maps, (prompts.shape[1] - length, 0))  # batch x units x keys
            for i, score in enumerate(scores.tolist()):
                if score > float("-inf"):
                    words, rows = vocabulary.read(units[i].tolist())
                    text = vocabulary.joint.join(words)
                    predictions[i].append(Prediction(text, score, maps[i], words, rows))
        return predictions
