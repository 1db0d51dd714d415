"""Embedders of pictures (cells in rows and columns) and of sounds (log-mel spectra)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnlab.data.batch import Padded
from attnlab.data.inputs import Picture, Sound, light
from attnlab.data.target import MapLayout
from attnlab.models.embedders_config import Blanks
from attnlab.models.memory import Memory


class ImageEmbedder(nn.Module):
    """Pixels to a map of features, whose positions become the cells of a memory."""

    def __init__(self, picture: Picture, width: int, stride: int) -> None:
        super().__init__()
        self.picture, self.stride = picture, stride
        self.grid = MapLayout((stride, stride)).grid(picture.height, picture.width)
        # As strong as sinusoids: at 0.1, questions about what is beside what stayed half answered.
        self.rows = nn.Parameter(0.7 * torch.randn(self.grid[0], 1, width))
        self.columns = nn.Parameter(0.7 * torch.randn(1, self.grid[1], width))
        self.finer: list[int] = []  # channels of the scales between pixels and cells

    def features(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """batch x channels x height x width -> batch x width x rows x columns, and finer scales."""
        raise NotImplementedError

    def forward(self, inputs: Padded) -> Memory:
        rows, columns = self.grid
        missing = (
            columns * self.stride - self.picture.width,
            rows * self.stride - self.picture.height,
        )
        pixels = F.pad(light(inputs.values), (0, missing[0], 0, missing[1]))
        features, finer = self.features(pixels)
        features = features.permute(0, 2, 3, 1)  # batch x rows x columns x width
        states = (features + self.rows + self.columns).flatten(1, 2)  # batch x cells x width
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Memory(states, mask, grid=self.grid, finer=(pixels, *finer))


class Patches(ImageEmbedder):
    """Squares of pixels, each through the same layers (Dosovitskiy et al. 2021)."""

    def __init__(self, picture: Picture, width: int, *, size: int, hidden: list[int]) -> None:
        super().__init__(picture, width, size)
        first, *others = [*hidden, width]
        self.linear = nn.Conv2d(picture.channels, first, size, stride=size)
        widths = pairwise([first, *others])
        self.further = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in widths)

    def features(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = self.linear(pixels)
        for layer in self.further:
            states = layer(torch.relu(states))
        return states, []


class Blocks(ImageEmbedder):
    """Blocks of convolutions, whose finer features are kept beside the cells."""

    def __init__(
        self, picture: Picture, width: int, stride: int, channels: list[int], strides: list[int]
    ) -> None:
        super().__init__(picture, width, stride)
        into = [picture.channels, *channels]
        self.blocks = nn.ModuleList(
            Block(before, after, factor)
            for before, after, factor in zip(into[:-1], into[1:], strides, strict=True)
        )
        self.scales = [math.prod(strides[: i + 1]) for i in range(len(strides))]
        self.kept = [self._last(scale) for scale in sorted(set(self.scales)) if scale < stride]
        self.finer = [channels[i] for i in self.kept]

    def outputs(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The features of every block, and those of scales that are finer than cells."""
        states, outputs = pixels, []
        for block in self.blocks:
            states = block(states)
            outputs.append(states)
        return outputs, [outputs[i] for i in self.kept]

    def _last(self, scale: int) -> int:
        """The last block of this scale."""
        return len(self.scales) - 1 - self.scales[::-1].index(scale)


class Convolution(Blocks):
    """Blocks of convolutions, each with a shortcut (He et al. 2016)."""

    def __init__(
        self, picture: Picture, width: int, *, channels: list[int], strides: list[int]
    ) -> None:
        super().__init__(picture, width, math.prod(strides), channels, strides)
        self.across = nn.Conv2d(channels[-1], width, 1)

    def features(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs, finer = self.outputs(pixels)
        return self.across(outputs[-1]), finer


class Pyramid(Blocks):
    """Blocks of convolutions; coarse features are added to the finest (Lin et al. 2017)."""

    def __init__(
        self, picture: Picture, width: int, *, channels: list[int], strides: list[int], finest: int
    ) -> None:
        super().__init__(picture, width, finest, channels, strides)
        self.first = self.scales.index(finest)
        self.across = nn.ModuleList(nn.Conv2d(n, width, 1) for n in channels[self.first :])

    def features(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs, finer = self.outputs(pixels)
        scales = [each(s) for each, s in zip(self.across, outputs[self.first :], strict=True)]
        fine, *coarse = scales
        for states in coarse:
            fine = fine + F.interpolate(states, fine.shape[2:], mode="bilinear")
        return fine, finer


class Block(nn.Module):
    """Two convolutions beside a shortcut; the first may halve both sides."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.inner(features) + self.shortcut(features))


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
