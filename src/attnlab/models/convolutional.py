"""Convolutional encoder for sequences (Gehring et al. 2017)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.config.attention import AttentionConfig
from attnlab.data.vocabulary import Vocabulary
from attnlab.models.builder import Decoder, Dropout, ModelBuilder
from attnlab.models.memory import Memory
from attnlab.models.recurrent import Recurrent


class Convolutional(Recurrent):
    """Builder of `model=convolutional`: convolutions read, a recurrent decoder writes."""

    def __init__(self, *, kernel: int, **recurrent: Any) -> None:
        super().__init__(bidirectional=False, **recurrent)
        self.kernel = kernel

    def encoder(self, attention: AttentionConfig, stem: str = "encoder") -> nn.Module:
        return ConvolutionalEncoder(self) if self.encoder_layers else nn.Identity()

    def causal_decoder(  # type: ignore[override]
        self, vocabulary: Vocabulary, attention: AttentionConfig
    ) -> Decoder:
        return ModelBuilder.causal_decoder(self, vocabulary, attention)  # refused


class ConvolutionalEncoder(nn.Module):
    """Convolutions over the sequence; the receptive field grows layer by layer."""

    def __init__(self, builder: Convolutional) -> None:
        super().__init__()
        self.widen = nn.Linear(builder.embedding_dim, builder.dim)
        self.layers = nn.ModuleList(
            GatedConvolution(builder) for _ in range(builder.encoder_layers)
        )
        self.norm = nn.LayerNorm(builder.dim)

    def forward(self, inputs: Memory) -> Memory:
        states = self.widen(inputs.values)  # batch x length x dim
        for layer in self.layers:
            states = layer(states, inputs.mask)
        return inputs._replace(values=self.norm(states))


class GatedConvolution(nn.Module):
    """A convolution with a gated linear unit, beside a shortcut."""

    def __init__(self, builder: Convolutional) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(builder.dim)
        self.convolution = nn.Conv1d(
            builder.dim, 2 * builder.dim, builder.kernel, padding=builder.kernel // 2
        )
        self.dropout = Dropout(builder.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States batch x length x dim; mask batch x length."""
        # Padding is zero, as beyond both ends.
        inner = self.norm(states).masked_fill(~mask[..., None], 0.0)
        inner = F.glu(self.convolution(inner.transpose(1, 2)), 1)  # batch x dim x length
        return states + self.dropout(inner.transpose(1, 2))
