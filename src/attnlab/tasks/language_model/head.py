"""`CausalLanguageModel`: scores the next unit at every position, and continues prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnlab.attention.probes import Tap
from attnlab.data.batch import Batch
from attnlab.models.builder import TextEmbedder
from attnlab.models.causal_decoder import CausalDecoder
from attnlab.models.memory import Memory, Reader
from attnlab.tasks.generate.decoding import Decoded, Decoding


class CausalLanguageModel(nn.Module):
    """A causal decoder of a text without marks, whose first unit is not predicted.

    The decoder's embedding and encoder are those of the reader, so that keys of maps are the units
    of the text.
    """

    def __init__(self, decoder: CausalDecoder, name: str, unit_dropout: float) -> None:
        super().__init__()
        decoder.marks = False
        embedder = TextEmbedder(decoder.embedding, unit_dropout)
        self.reader = Reader({name: embedder}, decoder.encoder, name, causal=True, missing=None)
        self.decoder = decoder

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the unit after each: batch x length x vocabulary."""
        return self.decoder.scores(self.reader(batch).memory.values)

    @torch.no_grad()
    def answer(self, batch: Batch) -> Tensor:
        """The text with each unit but the first as predicted from the true ones before it.

        batch x length.
        """
        units = batch.inputs[self.reader.attended].values
        return torch.cat([units[:, :1], self(batch)[:, :-1].argmax(-1)], 1)

    @torch.no_grad()
    def continued(self, prompts: Tensor, decoding: Decoding, longest: int, tap: Tap) -> Decoded:
        """Continuations of prompts of one length, batch x length, by a way of decoding."""
        memory = Memory(prompts, torch.ones_like(prompts, dtype=torch.bool))
        return decoding(self.decoder, memory, longest, tap)
