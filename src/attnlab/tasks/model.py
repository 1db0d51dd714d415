"""The whole model of a config: embedders and encoder of its kind, and the head of its task."""

from __future__ import annotations

from torch import nn

from attnlab.config.schema import Config
from attnlab.data.codec import Codec
from attnlab.errors import UserError
from attnlab.models.builder import ModelBuilder
from attnlab.models.memory import Missing, Reader
from attnlab.models.multi_input import CoAttention, OneSequence
from attnlab.tasks.task import HeadContext, Task


def build_model(config: Config, codec: Codec) -> nn.Module:
    """The model that a config describes, for what the data hold."""
    task: Task = config.task.build(codec)
    builder: ModelBuilder = config.model.build()
    embedders = {name: builder.embedder(each) for name, each in codec.inputs.items()}
    missing = _missing(config, codec, builder)
    encoder = _encoder(config, codec, builder, task)
    reader = Reader(embedders, encoder, codec.attended, config.task.causal, missing)
    return task.head(HeadContext(config, codec, builder, reader))


def _encoder(config: Config, codec: Codec, builder: ModelBuilder, task: Task) -> nn.Module:
    """Of the one input, or of all of them at once."""
    names, rounds = list(codec.inputs), config.model.co_attention
    if len(names) == 1:
        if rounds:
            raise UserError(
                f"model.co_attention: {rounds} is between several inputs; dataset "
                f"'{config.dataset.name}' has '{names[0]}' alone; try: model.co_attention=0"
            )
        return task.encoder(builder, config.attention)
    task.check_inputs(names)
    if rounds:
        return CoAttention(builder, config.attention, names, rounds)
    encoder = builder.encoder(config.attention)
    return OneSequence(encoder, len(names), builder.embedding_width)


def _missing(config: Config, codec: Codec, builder: ModelBuilder) -> Missing | None:
    """Vectors in place of missing inputs, where training meets any."""
    dropout, inputs = builder.input_dropout, len(codec.inputs)
    if dropout and inputs == 1:
        raise UserError(
            f"model.input_dropout: {dropout} leaves out one of several inputs; dataset "
            f"'{config.dataset.name}' has '{codec.attended}' alone; try: model.input_dropout=0"
        )
    if not dropout and not config.dataset.may_lack:
        return None
    return Missing(inputs, builder.embedding_width, dropout)
