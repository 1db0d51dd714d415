"""`Memory`: what a decoder or head attends to, and the `Reader` that makes it of all inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from attnlab.attention.mask import Mask
from attnlab.attention.taps import Tap
from attnlab.data.batch import Batch, Padded
from attnlab.objectives.terms import ACTIVATIONS, States

MASKED = -1e9  # logarithm of the weight of a masked key


class Memory(NamedTuple):
    """The states of an input, padded, and which of them a query may attend to."""

    values: Tensor  # batch x keys x width
    mask: Tensor  # batch x keys, bool: True where real; padding comes last
    grid: tuple[int, int] | None = None  # rows and columns, where keys are the cells of a picture
    causal: bool = False  # the n-th query may attend to the first n keys alone
    # Features of a picture's embedder that are finer than cells, the finest first: the pixels, then
    # each batch x channels x rows x columns.
    finer: tuple[Tensor, ...] = ()

    def visible(self) -> Mask:
        """The mask of attention to this memory."""
        # In a causal memory padding comes last, where no real query sees it: the mask says nothing
        # more, and kernels are faster without.
        return Mask(keys=None if self.causal else self.mask, causal=self.causal, grid=self.grid)

    def select(self, rows: Tensor) -> Memory:
        """The memory of some of the examples, in the order of `rows`."""
        finer = tuple(features[rows] for features in self.finer)
        return self._replace(values=self.values[rows], mask=self.mask[rows], finer=finer)

    def at_first(self) -> Tensor:
        """What the first query may see: the mean, or the first state: batch x width."""
        return self.values[:, 0] if self.causal else self.mean()

    def mean(self) -> Tensor:
        """The mean of the real states: batch x width."""
        real = self.mask[..., None]
        return (self.values * real).sum(1) / real.sum(1).clamp_min(1)

    def last(self) -> Tensor:
        """The last real state: batch x width."""
        position = (self.mask.sum(1) - 1).clamp_min(0)  # batch
        return self.values[torch.arange(len(position), device=position.device), position]


class Missing(nn.Module):
    """Replaces a missing input by a learned vector of its own.

    Training drops some inputs, so that the vectors are learned and the model relies on no input
    alone (modality dropout, Neverova et al. 2016).
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(inputs, width))
        self.dropout = dropout

    def forward(self, memories: Sequence[Memory], inputs: Sequence[Padded]) -> list[Memory]:
        """The embedders' memories of the inputs, with the missing ones replaced."""
        present = torch.stack([each.mask.flatten(1).any(1) for each in inputs])  # inputs x batch
        if self.training and self.dropout:
            present = present & self.kept(present)
        return [
            _replaced(memory, vector, ~here)
            for memory, vector, here in zip(memories, self.vectors, present, strict=True)
        ]

    def kept(self, present: Tensor) -> Tensor:
        """Drops one input of some examples that have several: inputs x batch, False if dropped."""
        inputs, batch = present.shape
        chosen = torch.randint(inputs, (1, batch), device=present.device)
        drops = (torch.rand(batch, device=present.device) < self.dropout) & (present.sum(0) > 1)
        kept = torch.ones_like(present)
        return kept.scatter(0, chosen, ~drops[None])


def _replaced(memory: Memory, vector: Tensor, absent: Tensor) -> Memory:
    """The vector in place of absent examples: in all cells of a picture, else as one state."""
    where = absent[:, None]  # batch x 1
    values = torch.where(where[..., None], vector.to(memory.values), memory.values)
    if memory.grid is not None:
        return memory._replace(values=values)
    first = torch.arange(memory.mask.shape[1], device=absent.device) == 0
    return memory._replace(values=values, mask=torch.where(where, first, memory.mask))


class Reading(NamedTuple):
    """The memory that is attended to, and the seed of the query."""

    memory: Memory
    query_seed: Tensor  # batch x dim: mean of the other inputs, or last state of the only one


class Reader(nn.Module):
    """Each input through its embedder, then all of them through an encoder.

    The result is the part of the attended input.
    """

    def __init__(
        self,
        embedders: dict[str, nn.Module],
        encoder: nn.Module,
        attended: str,
        causal: bool,
        missing: Missing | None,
        dim: int,
        width: int,
    ) -> None:
        super().__init__()
        self.dim, self.width = dim, width  # of the states that it makes, and of what is embedded
        self.causal = causal  # whether each state of the attended input sees its past alone
        self.names = tuple(embedders)
        self.embedders = nn.ModuleList(embedders.values())
        self.missing = missing
        self.encoder, self.attended = encoder, attended  # of one memory, or of several at once

    @property
    def embedder(self) -> nn.Module:
        """The embedder of the attended input."""
        return self.embedders[self.names.index(self.attended)]

    @torch.no_grad()
    def blank(self, batch: Batch) -> Tensor:
        """What the embedder makes of an empty attended input: batch x keys x width.

        No unit at each position, a black picture, silence.
        """
        inputs, training = batch.inputs[self.attended], self.embedder.training
        self.embedder.eval()  # nothing is dropped, and no running mean moves
        values = self.embedder(Padded(torch.zeros_like(inputs.values), inputs.mask)).values
        self.embedder.train(training)
        return values

    def forward(self, batch: Batch) -> Reading:
        inputs = [batch.inputs[name] for name in self.names]
        memories = [embed(each) for embed, each in zip(self.embedders, inputs, strict=True)]
        if self.missing is not None:
            memories = self.missing(memories, inputs)
        if self.causal:
            number = self.names.index(self.attended)
            memories[number] = memories[number]._replace(causal=True)
        if len(memories) == 1:
            memory = self.encoder(memories[0])
            return Reading(memory, memory.last() if memory.grid is None else memory.mean())
        read = dict(zip(self.names, self.encoder(memories), strict=True))
        memory = read.pop(self.attended)
        return Reading(memory, torch.stack([other.mean() for other in read.values()]).sum(0))


class ReadingTap:
    """While open, keeps the memory that the reader of a model makes."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model.reader, Reader)
        self.reader = model.reader
        self.memory: Memory | None = None
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self.hooks.append(self.reader.register_forward_hook(self._keep))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _keep(self, reader: nn.Module, inputs: object, reading: Reading) -> None:
        self.memory = reading.memory


class ActivationTap(ReadingTap):
    """The sum of squares of each state, as a share of all (Zagoruyko & Komodakis 2017).

    It is used like a `Tap`.
    """

    role = "pooling"

    def weights(self) -> Tensor:
        """batch x 1 x 1 x keys."""
        return self.log_weights().exp()

    def log_weights(self) -> Tensor:
        """The logarithm of `weights`, finite everywhere."""
        assert self.memory is not None, "nothing was read while tapped"
        values, mask = self.memory.values.float(), self.memory.mask
        strength = values.square().sum(-1).clamp_min(torch.finfo(values.dtype).tiny)
        shares = strength.log().masked_fill(~mask, MASKED).log_softmax(-1)
        return shares.clamp_min(MASKED)[:, None, None]


class StateTap(ReadingTap):
    """While open, keeps the states that an input is read as, and the context they are pooled to."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.pooling = getattr(model, "pooling", None)
        self.context: Tensor | None = None  # batch x queries x dim

    def __enter__(self) -> Self:
        if isinstance(self.pooling, nn.Module):
            self.hooks.append(self.pooling.register_forward_hook(self._keep_context))
        return super().__enter__()

    def _keep_context(self, pooling: nn.Module, inputs: object, context: Tensor) -> None:
        self.context = context

    def states(self) -> States:
        """Those of the last forward pass."""
        assert self.memory is not None, "nothing was read while tapped"
        pooled = self.memory.mean() if self.context is None else self.context[:, -1]
        return States(self.memory.values, self.memory.mask, pooled)


def tapped(model: nn.Module, selector: str) -> Tap | ActivationTap:
    """The tap of the map that a selector names."""
    return ActivationTap(model) if selector == ACTIVATIONS else Tap(model, selector)
