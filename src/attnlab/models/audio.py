"""The embedder for sounds: log-mel spectrum, then convolutions over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Padded
from attnlab.data.inputs import Sound
from attnlab.models.embedders_config import Blanks
from attnlab.models.memory import Memory


class LogMel(nn.Module):
    """Frames of `hop` samples, each with the logarithm of its energy in mel bands.

    Frame j is centred on samples j * hop to (j + 1) * hop, which is the frame that gold counts.
    Sounds are padded with silence on both sides, independent of the rest of the batch.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sound: Sound,
        width: int,
        *,
        bands: int,
        window: float,
        channels: list[int],
        strides: list[int],
        blanks: Blanks,
    ) -> None:
        super().__init__()
        self.hop, self.size = sound.hop, round(window * sound.hop)
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        filters = mel_filters(bands, self.size, sound.sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        self.norm = nn.LayerNorm(bands)
        self.blanks = blanks
        into = [bands, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, 3, stride=stride, padding=1)
            for before, after, stride in zip(into[:-1], into[1:], strides, strict=True)
        )
        self.linear = nn.Linear(into[-1], width)

    def forward(self, inputs: Padded) -> Memory:
        states = self.norm(self.spectrum(inputs.values)).transpose(1, 2)  # batch x bands x frames
        if self.training and self.blanks.count:
            for dim, longest in ((1, self.blanks.bands), (2, self.blanks.frames)):
                states = masked_stretches(states, dim, self.blanks.count, longest)
        mask = inputs.mask[:, :: self.hop]  # batch x frames: those that begin within the sound
        states = states * mask[:, None]
        for convolution in self.convolutions:
            mask = mask[:, :: convolution.stride[0]]  # type: ignore[index]
            states = F.gelu(convolution(states)) * mask[:, None]  # batch x channels x steps
        return Memory(self.linear(states.transpose(1, 2)), mask)

    def spectrum(self, samples: Tensor) -> Tensor:
        """batch x samples -> batch x frames x bands, the logarithm of mel energies."""
        frames = -(-samples.shape[1] // self.hop)
        before = (self.size - self.hop) // 2
        after = frames * self.hop - samples.shape[1] + self.size - self.hop - before
        padded = F.pad(samples.float(), (before, after))
        spectrum = torch.stft(
            padded, self.size, self.hop, window=self.window, center=False, return_complex=True
        )  # batch x frequencies x frames
        energy = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        return (energy @ self.filters + 1e-4).log()


def masked_stretches(states: Tensor, dim: int, count: int, longest: int) -> Tensor:
    """Zero `count` stretches along dim 1 or 2 of batch x bands x frames (SpecAugment)."""
    size, device = states.shape[dim], states.device
    length = torch.randint(longest + 1, (len(states), count, 1), device=device)
    start = torch.rand(len(states), count, 1, device=device) * (size - length).clamp_min(0)
    behind = torch.arange(size, device=device) - start.long()  # batch x count x size
    hidden = ((behind >= 0) & (behind < length)).any(1)  # batch x size
    return states.masked_fill(hidden.unsqueeze(3 - dim), 0)


def mel_filters(bands: int, window: int, sample_rate: int) -> Tensor:
    """Triangles evenly spaced in mel, 2595 log10(1 + f / 700) (O'Shaughnessy 1987).

    frequencies x bands; each side of a triangle is at least one frequency wide, so that no band is
    empty.
    """
    frequencies = torch.fft.rfftfreq(window, 1 / sample_rate)  # Hz
    highest = 2595 * torch.log10(torch.tensor(1 + sample_rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(highest), bands + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    step = float(frequencies[1])
    rising = 1 - (middle - frequencies[:, None]) / (middle - low).clamp_min(step)
    falling = 1 - (frequencies[:, None] - middle) / (high - middle).clamp_min(step)
    return torch.minimum(rising, falling).clamp(0, 1)
