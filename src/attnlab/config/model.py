"""What a model is made of. `conf/model/*.yaml` holds the default values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from attnlab.config.attention import AttentionConfig
from attnlab.config.section import Variant


class Model(Variant, slot="model"):
    """An encoder, and the head or decoder that the task asks for."""

    name: str = Field(description="shown in run names and tables")
    dim: int = Field(gt=0, description="width of the hidden states")
    dropout: float = Field(ge=0, lt=1, description="share of activations dropped in training")


class Recurrent(Model, kind="recurrent", target="attnlab.models.recurrent:Recurrent"):
    """Recurrent encoder; recurrent decoder that attends to it (Bahdanau et al. 2015)."""

    cell: Literal["lstm", "gru"] = Field(description="the recurrent cell")
    layers: int = Field(gt=0, description="recurrent layers in encoder and in decoder")
    embedding_dim: int = Field(gt=0, description="width of the embeddings")
    bidirectional: bool = Field(description="encoder reads both ways")
    query: Literal["state", "previous_state"] = Field(
        description="which decoder state asks: the present one, all steps at once (Luong et al. "
        "2015), or the previous one, step by step (Bahdanau et al. 2015)"
    )


class Transformer(Model, kind="transformer", target="attnlab.models.transformer:Transformer"):
    """Transformer encoder, and decoder where the task generates (Vaswani et al. 2017)."""

    encoder_layers: int = Field(gt=0, description="layers of the encoder")
    decoder_layers: int = Field(gt=0, description="layers of the decoder")
    feedforward_dim: int = Field(gt=0, description="hidden width of the feed-forward blocks")
    embedding_positions: Literal["sinusoidal", "learned", "none"] = Field(
        description="positions added to the embeddings; a mechanism may bring its own as well"
    )
    max_length: int = Field(gt=0, description="longest input or output the positions allow")
    self_attention: AttentionConfig = Field(
        description="the mechanism within encoder and decoder; by default that of `attention`"
    )
