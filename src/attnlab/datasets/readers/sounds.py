"""`SoundSource`: recordings of a user's own, one channel, all at one rate."""

from __future__ import annotations

import importlib.util
import io
import math
import wave
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Example
from attnlab.datasets.readers.media import MediaSource
from attnlab.datasets.readers.row import BadRowError, Row

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SoundSource(MediaSource):
    """A recording in, its label out."""

    sample_rate: int
    hop: int
    longest: float | None
    loudness: float | None

    def make(self, row: Row, name: str) -> Example:
        samples = self.array(row)
        if samples.ndim != 1 or not len(samples):
            raise BadRowError(f"not a sound: an array of shape {samples.shape}")
        if self.longest is not None:
            samples = samples[: round(self.longest * self.sample_rate)]
        if self.loudness is not None:
            loudness = math.sqrt(float(np.square(samples).mean()))
            samples = samples * (self.loudness / max(loudness, 1e-6))
        return Example(
            id=name,
            inputs={"audio": samples.astype(np.float32)},
            answer=self.answered(row),
            attended="audio",
            meta={"row": row.place, "sample_rate": self.sample_rate, "hop": self.hop},
        )

    def opened(self, content: bytes, name: str) -> np.ndarray:
        samples, rate = _decoded(content, name)
        if rate != self.sample_rate and len(samples):
            samples = _at_rate(samples, rate, self.sample_rate)
        return samples


def _decoded(content: bytes, name: str) -> tuple[Samples, int]:
    """Samples from -1 to 1, of all channels together, and how many a second has."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            samples = _numbers(file.readframes(file.getnframes()), width)
    except (wave.Error, EOFError) as error:
        return _by_soundfile(content, name, error)
    return samples.reshape(-1, channels).mean(1, dtype=np.float32), rate


def _numbers(content: bytes, width: int) -> Samples:
    """Little-endian whole numbers of so many bytes each; single bytes have no sign."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)
    whole = len(content) // width * width
    each = np.frombuffer(content[:whole], np.uint8).reshape(-1, width)
    wide = np.zeros((len(each), 4), np.uint8)
    wide[:, 4 - width :] = each  # the sign is in the highest byte
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)


def _by_soundfile(content: bytes, name: str, error: Exception) -> tuple[Samples, int]:
    """Everything that is not plain WAV: FLAC, OGG, MP3, WAV of other numbers."""
    if importlib.util.find_spec("soundfile") is None:
        hint = "formats other than WAV need soundfile: pip install 'attnlab[sound]'"
        raise BadRowError(f"'{name}' is no WAV ({str(error) or 'cut short'}); {hint}")
    import soundfile  # pyright: ignore[reportMissingImports]

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as other:
        raise BadRowError(f"'{name}' is no sound ({other})") from None
    return samples.mean(1), rate


def _at_rate(samples: Samples, rate: int, wanted: int) -> Samples:
    """The same sound with another number of samples a second."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common).astype(np.float32)
