"""Two models for the same task: in one the map decides, in the other it cannot.

A text is to be copied. Both models are real ones; only what their encoders hand on is
arranged. `deciding`: each state is its own unit and place and knows of no other, so that the order
of the answer can come from nowhere but the map. `idle`: every state holds the same summary of the
whole text, so that every map finds the same; the maps differ all the same, since the mechanism
marks the places of keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import nn

from attnlab.attention.positions import sinusoids
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.target import AttentionTarget
from attnlab.explain.subject import Subject
from attnlab.models.memory import Memory
from attnlab.tasks.generate.task import Generate
from attnlab.tasks.task import build_model
from tests.forms import fitted
from tests.models.building import small_config

KINDS = {
    "recurrent": ("model=recurrent", "attention=additive"),
    "transformer": ("model=transformer", "attention=scaled_dot", "model.decoder_layers=1"),
}
UNITS = "abcdef"
STEPS = 800  # of teaching; after 400 the best answers are hardly likelier than the next


class Apart(nn.Module):
    """Each state by itself, with its place."""

    def forward(self, memory: Memory) -> Memory:
        _, length, width = memory.values.shape
        return memory._replace(
            values=memory.values + sinusoids(torch.arange(length), width, interleaved=True)
        )


class Together(nn.Module):
    """What an encoder says of the whole text, at every place."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, memory: Memory) -> Memory:
        read = self.encoder(memory)
        return read._replace(values=read.mean()[:, None].expand_as(read.values))


def copies(count: int, seed: int) -> list[Example]:
    """Texts of three or four units; gold says where each unit of the answer stands."""
    random = np.random.default_rng(seed)
    texts = [random.choice(list(UNITS), random.integers(3, 5)).tolist() for _ in range(count)]
    return [
        Example(str(i), {"text": text}, text, diagonal(len(text))) for i, text in enumerate(texts)
    ]


def diagonal(length: int) -> AttentionTarget:
    """Every unit comes from its own place, the end mark from nowhere."""
    weights = np.eye(length + 1, length, dtype=np.float32)
    return AttentionTarget(weights, weights.any(1), np.ones(length, bool))


@cache
def trained(kind: str, deciding: bool) -> tuple[nn.Module, Codec]:
    """A model that was taught to copy."""
    torch.manual_seed(0)
    own = ["model.encoder_layers=0"] if deciding else ["model.encoder_layers=1"]
    own.append("attention/position=sinusoidal")
    config = small_config(*KINDS[kind], *own, "model.dim=32", "task.max_length=5")
    examples = copies(1500, seed=0)
    codec = fitted(examples)
    model = build_model(config, codec)
    reader = model.reader
    reader.encoder = Apart() if deciding else Together(reader.encoder)  # type: ignore[union-attr]
    _teach(model, codec, examples)
    return model.eval(), codec


def copying(codec: Codec) -> Generate:
    """The task."""
    shared = {"map": "decoder.cross.-1", "label_smoothing": 0.0, "scores_at_once": None}
    return Generate(
        codec, max_length=5, figures=None, decoding=None, eviction=None, ctc=0.0, **shared
    )  # type: ignore[arg-type]


def _teach(model: nn.Module, codec: Codec, examples: list[Example]) -> None:
    task = copying(codec)
    items = [codec.encode(example, i) for i, example in enumerate(examples)]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        batch = collate([items[i] for i in torch.randint(len(items), (64,)).tolist()])
        loss = task.loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def subject(kind: str, deciding: bool, count: int = 40) -> tuple[Subject, Batch]:
    """The model, on texts that it has not learned from, and these with their gold."""
    model, codec = trained(kind, deciding)
    examples = copies(count, seed=1)
    batch = collate([codec.encode(example, i) for i, example in enumerate(examples)])
    return replace(Subject.of(model, copying(codec), batch), at_once=256), batch
