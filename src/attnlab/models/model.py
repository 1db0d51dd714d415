"""The whole model: what the data hold, read by the parts of one kind, answered by a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from attnlab.config.schema import Config
from attnlab.config.task import Generate, Locate, Rank, Segment, Tag
from attnlab.data.answers import Boxes, ItemAnswer, Label, Nothing, Pixels, Place, Units
from attnlab.data.codec import Codec
from attnlab.data.inputs import Picture, Text
from attnlab.errors import UserError
from attnlab.models.boxes import Locator, QuerySettings
from attnlab.models.builder import ModelBuilder
from attnlab.models.cloze import ClozeRanker, OnePlaceMore
from attnlab.models.crf import TagChain
from attnlab.models.ctc import Hearing
from attnlab.models.generator import Generator
from attnlab.models.heads import Attender, Classifier, Extractor, Ranker, Tagger
from attnlab.models.missing import Missing
from attnlab.models.multi_input import CoAttention, OneSequence
from attnlab.models.pixels import Segmenter
from attnlab.models.prediction import AttentionPrediction
from attnlab.models.reader import Reader
from attnlab.models.retriever import Retriever


@dataclass(frozen=True)
class Plan:
    """What a head is built from."""

    config: Config
    codec: Codec
    builder: ModelBuilder
    reader: Reader

    def prediction(self, places: int) -> AttentionPrediction | None:
        """The layer that predicts where each place of the answer looks, if there is one."""
        config = self.builder.prediction
        return None if config is None else AttentionPrediction(self.builder, config, places)

    def picture(self) -> Picture:
        """The picture that is looked at, for heads that answer with places in it."""
        found = self.codec.inputs[self.codec.attended]
        if not isinstance(found, Picture):
            kind, name = self.config.task.kind, self.codec.attended
            raise UserError(f"task.kind: '{kind}' looks at a picture; '{name}' is a {found.form}")
        return found


def build_model(config: Config, codec: Codec) -> nn.Module:
    """The model that a config describes, for what the data hold."""
    builder: ModelBuilder = config.model.build()
    embedders = {name: builder.embedder(found) for name, found in codec.inputs.items()}
    missing, causal = _missing(config, codec, builder), config.task.causal
    reader = Reader(embedders, _encoder(config, codec, builder), codec.attended, causal, missing)
    return HEADS[config.task.kind](Plan(config, codec, builder, reader))


def _encoder(config: Config, codec: Codec, builder: ModelBuilder) -> nn.Module:
    """Of the one input, or of all of them at once."""
    names, rounds = list(codec.inputs), config.model.co_attention
    if len(names) == 1:
        if rounds:
            raise UserError(
                f"model.co_attention: {rounds} is between several inputs; dataset "
                f"'{config.dataset.name}' has '{names[0]}' alone; try: model.co_attention=0"
            )
        encoder = builder.encoder(config.attention)
        return OnePlaceMore(builder, encoder) if _hides_items(config) else encoder
    if _hides_items(config):
        raise UserError(
            f"task.learn: 'hidden_places' reads items alone, and the data hold {', '.join(names)}; "
            "try: task.learn=answer"
        )
    if rounds:
        return CoAttention(builder, config.attention, names, rounds)
    return OneSequence(builder.encoder(config.attention), len(names), builder.embedding_width)


def _hides_items(config: Config) -> bool:
    return isinstance(config.task, Rank) and config.task.learn == "hidden_places"


def _missing(config: Config, codec: Codec, builder: ModelBuilder) -> Missing | None:
    """What stands for inputs that are missing, where training meets any."""
    dropout, inputs = builder.input_dropout, len(codec.inputs)
    if dropout and inputs == 1:
        raise UserError(
            f"model.input_dropout: {dropout} leaves out one of several inputs; dataset "
            f"'{config.dataset.name}' has '{codec.attended}' alone; try: model.input_dropout=0"
        )
    if not dropout and not config.dataset.may_lack:
        return None
    return Missing(inputs, builder.embedding_width, dropout)


def _generator(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Units):
        raise _wrong_answers(plan)
    task, units = plan.config.task, len(answers.vocabulary)
    assert isinstance(task, Generate)
    decoder = plan.builder.decoder(units, plan.config.attention)
    hearing = Hearing(plan.builder.dim, units) if task.ctc else None
    length, dropout = task.max_length, plan.builder.unit_dropout
    prediction = plan.prediction(length)
    return Generator(plan.reader, prediction, decoder, length, task.map, dropout, hearing)


def _classifier(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Label):
        raise _wrong_answers(plan)
    output = nn.Linear(plan.builder.dim, len(answers.labels))
    attention = plan.config.attention
    hops, said_by = plan.config.task.looks, answers.said_by if answers.counts_as else None
    prediction = plan.prediction(1)
    return Classifier(plan.reader, prediction, plan.builder, attention, output, hops, said_by)


def _ranker(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, ItemAnswer):
        raise _wrong_answers(plan)
    output = _item_scores(plan.builder, len(answers.vocabulary))
    arguments = plan.reader, plan.prediction(1), plan.builder, plan.config.attention, output
    task = plan.config.task
    assert isinstance(task, Rank)
    kind = ClozeRanker if _hides_items(plan.config) else Ranker
    names = {"attended": plan.codec.attended, "every_place": task.causal}
    return kind(*arguments, **names, repeats=task.repeats)


def _item_scores(builder: ModelBuilder, items: int) -> nn.Sequential:
    """Two layers: several items together may lead to the next, not each by itself."""
    hidden = nn.Linear(builder.dim, 2 * builder.dim), nn.GELU()
    if builder.tie != "all":
        return nn.Sequential(*hidden, nn.Linear(2 * builder.dim, items))
    width = builder.embedding_width
    output = builder.units.output(builder.units.embedding(items, width), width)
    return nn.Sequential(*hidden, nn.Linear(2 * builder.dim, width), output)


def _retriever(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Units):
        raise _wrong_answers(plan)
    embedder = plan.builder.embedder(Text(answers.vocabulary))
    return Retriever(plan.reader, embedder, plan.builder, plan.config.attention)


def _tagger(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Units):
        raise _wrong_answers(plan)
    task, tags = plan.config.task, answers.vocabulary.units
    assert isinstance(task, Tag)
    chain = TagChain(tags) if task.crf else None
    return Tagger(plan.reader, plan.builder, plan.config.attention, len(tags), chain)


def _extractor(plan: Plan) -> nn.Module:
    if not isinstance(plan.codec.answers, Place):
        raise _wrong_answers(plan)
    return Extractor(plan.reader, plan.builder, plan.config.attention)


def _attender(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Nothing):
        raise _wrong_answers(plan)
    return Attender(plan.reader, plan.builder, plan.config.attention, answers.rows)


def _locator(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Boxes):
        raise _wrong_answers(plan)
    picture, task = plan.picture(), plan.config.task
    assert isinstance(task, Locate)
    if task.queries != "cells" and task.queries < answers.slots:
        raise UserError(
            f"task.queries: {task.queries} find less than a picture of dataset "
            f"'{plan.config.dataset.name}' has, {answers.slots} boxes; "
            f"try: task.queries={2 * answers.slots}"
        )
    queries = QuerySettings(task.queries, task.rounds)
    attention = plan.config.attention
    return Locator(plan.reader, plan.builder, attention, picture, answers.classes, queries)


def _segmenter(plan: Plan) -> nn.Module:
    answers = plan.codec.answers
    if not isinstance(answers, Pixels):
        raise _wrong_answers(plan)
    task, attention = plan.config.task, plan.config.attention
    assert isinstance(task, Segment)
    sizes = plan.picture(), answers.classes, task.gated
    return Segmenter(plan.reader, plan.builder, attention, *sizes)


HEADS: dict[str, Callable[[Plan], nn.Module]] = {
    "generate": _generator,
    "classify": _classifier,
    "rank": _ranker,
    "retrieve": _retriever,
    "tag": _tagger,
    "extract": _extractor,
    "attend": _attender,
    "locate": _locator,
    "segment": _segmenter,
}
SUITABLE = {
    "units": "generate, tag or retrieve",
    "label": "classify",
    "item": "rank",
    "place": "extract",
    "nothing": "attend",
    "boxes": "locate",
    "pixels": "segment",
}


def _wrong_answers(plan: Plan) -> UserError:
    form = plan.codec.form
    return UserError(
        f"task.kind: '{plan.config.task.kind}' does not go with answers of form '{form}' "
        f"in dataset '{plan.config.dataset.name}'; did you mean '{SUITABLE[form]}'?"
    )
