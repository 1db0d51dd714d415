"""A pretrained model as a `ModelBuilder`: its embeddings, encoder and decoder."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from attnlab.config.attention import AttentionConfig
from attnlab.data.inputs import Input, Text
from attnlab.data.pretrained import PretrainedPieces
from attnlab.data.vocabulary import BOS, PAD, Vocabulary
from attnlab.errors import UserError
from attnlab.models.backbone import Source, encoder_of, load
from attnlab.models.builder import Common, Decoder, ModelBuilder, TextEmbedder
from attnlab.models.memory import Memory


class HuggingFace(ModelBuilder):
    """Builder of `model=hf`: heads of ours on the states of a pretrained model."""

    def __init__(
        self,
        *,
        name: str,
        revision: str | None,
        weights: Literal["pretrained", "random"],
        **common: Unpack[Common],
    ) -> None:
        self.name = name
        self.backbone: Any = load(Source(name, revision, weights))
        self.backbone_encoder = encoder_of(self.backbone)
        super().__init__(dim=self.backbone.config.hidden_size, tie="none", **common)
        self.pieces: PretrainedPieces | None = None  # of the text that has an embedder

    @property
    def embedding_width(self) -> int:
        return self.backbone.get_input_embeddings().embedding_dim

    def embedder(self, source: Input) -> nn.Module:
        if not isinstance(source, Text):
            raise UserError(
                f"model.kind: 'hf' reads texts, and the data hold an input of form "
                f"'{source.form}'; try: model=recurrent, model=transformer"
            )
        if not isinstance(source.vocabulary, PretrainedPieces):
            raise UserError("model.kind: 'hf' reads pieces of its own tokenizer, not other units")
        if self.pieces is not None:
            raise UserError(
                "model.kind: 'hf' reads one text, and the data hold several; "
                "try: model=recurrent, model=transformer"
            )
        self.pieces = source.vocabulary
        rows = self.backbone.get_input_embeddings().num_embeddings
        if max(self.pieces.ids) >= rows:
            raise UserError(
                f"model.name: '{self.name}' has embeddings for {rows} units, its tokenizer makes "
                f"{len(self.pieces)}"
            )
        return TextEmbedder(PretrainedEmbedding(self), self.unit_dropout)

    def embedding(self, vocabulary: Vocabulary, width: int) -> nn.Module:
        raise NotImplementedError("the backbone's own embeddings are in its embedder and decoder")

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return PretrainedEncoder(self)

    def decoder(self, vocabulary: int, attention: AttentionConfig) -> Decoder:
        if not self.backbone.config.is_encoder_decoder:
            raise UserError(
                f"model.name: '{self.name}' only reads, and task 'generate' writes; "
                "models with a decoder are T5, BART, Marian, Pegasus and their kind"
            )
        return PretrainedDecoder(self)

    def own_numbers(self) -> Tensor:
        """The id in the backbone's vocabulary of each of our units."""
        assert self.pieces is not None, "the embedder is made first"
        return torch.tensor(self.pieces.ids)

    def longest(self) -> int | None:
        """How many positions it has; None for no limit."""
        longest = getattr(self.backbone.config, "max_position_embeddings", None)
        embeddings = getattr(self.backbone_encoder, "embeddings", None)
        padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
        # RoBERTa and its kind count from behind the number of padding
        return longest if longest is None or padding is None else longest - padding - 1


class PretrainedEmbedding(nn.Module):
    """Pieces as the backbone's own embeddings."""

    numbers: Tensor

    def __init__(self, builder: HuggingFace) -> None:
        super().__init__()
        self.embedding = builder.backbone.get_input_embeddings()
        # Some encoders scale embeddings themselves, others within the embedding.
        self.scale = getattr(builder.backbone_encoder, "embed_scale", 1.0)
        self.register_buffer("numbers", builder.own_numbers(), persistent=False)

    def forward(self, units: Tensor) -> Tensor:
        """batch x length -> batch x length x width."""
        return self.embedding(self.numbers[units]) * self.scale


class PretrainedEncoder(nn.Module):
    """From vectors of pieces to the states of the last layer."""

    def __init__(self, builder: HuggingFace) -> None:
        super().__init__()
        self.backbone = builder.backbone_encoder
        self.name, self.longest = builder.name, builder.longest()
        self.dropout = nn.Dropout(builder.dropout)

    def forward(self, inputs: Memory) -> Memory:
        _fits(inputs.values.shape[1], self.longest, self.name)
        output = self.backbone(inputs_embeds=inputs.values, attention_mask=inputs.mask.long())
        return inputs._replace(values=self.dropout(output.last_hidden_state))


@dataclass
class PretrainedState:
    """What a decoder keeps between two steps: the library's own cache."""

    memory: Memory
    cache: Any = None

    def select(self, rows: Tensor) -> PretrainedState:
        """The state of some of the sequences, in the order of `rows`."""
        cache = _copied(self.cache)
        if cache is not None:
            cache.reorder_cache(rows)
        return PretrainedState(self.memory.select(rows), cache)

    def reorder(self, rows: Tensor) -> None:
        """Go on with these sequences; the memory of each row is that of its new sequence."""
        if self.cache is not None:
            self.cache.self_attention_cache.reorder_cache(rows)


class PretrainedDecoder(Decoder):
    """The backbone's decoder and output layer, over our units."""

    read: Tensor
    written: Tensor

    def __init__(self, builder: HuggingFace) -> None:
        super().__init__()
        self.backbone, self.name, self.longest = builder.backbone, builder.name, builder.longest()
        numbers = builder.own_numbers()  # units
        pad = numbers[PAD]
        read, written = numbers.clone(), numbers.clone()
        start = self.backbone.config.decoder_start_token_id
        read[BOS] = pad if start is None else start
        written[BOS] = pad  # never written
        self.register_buffer("read", read, persistent=False)
        self.register_buffer("written", written, persistent=False)

    def forward(self, units: Tensor, memory: Memory) -> Tensor:
        """Scores of the next unit after each of `units`: batch x length x vocabulary."""
        _fits(units.shape[1], self.longest, self.name)
        return self._run(units, memory, use_cache=False).logits[..., self.written]

    def start(self, memory: Memory) -> PretrainedState:
        """The state before the first unit."""
        return PretrainedState(memory)

    def step(self, units: Tensor, state: PretrainedState) -> Tensor:
        """Scores of the unit after `units` (batch): batch x vocabulary. Moves the state on."""
        settings = {"past_key_values": state.cache, "use_cache": True}
        output = self._run(units[:, None], state.memory, **settings)
        state.cache = output.past_key_values
        return output.logits[:, -1, self.written]

    def _run(self, units: Tensor, memory: Memory, **settings: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return self.backbone(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory.values),  # type: ignore[arg-type]
            attention_mask=memory.mask.long(),
            decoder_input_ids=self.read[units],
            **settings,
        )


def _copied(cache: Any) -> Any:
    """A copy of a cache that shares its tensors, which never change in place."""
    if cache is None:
        return None
    whole = copy.copy(cache)
    for name in ("self_attention_cache", "cross_attention_cache"):
        part = copy.copy(getattr(cache, name))
        part.layers = [copy.copy(layer) for layer in part.layers]
        setattr(whole, name, part)
    return whole


def _fits(units: int, longest: int | None, name: str) -> None:
    if longest is not None and units > longest:
        raise UserError(
            f"model.name: '{name}' has positions for {longest} units, and a text has {units}; "
            "try: dataset.words.longest=N, or a model with relative positions (T5)"
        )
