"""`SoundSource`: recordings of a user's own, alone or several joined to longer sounds."""

from __future__ import annotations

import importlib.util
import io
import math
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnlab.data.example import SPLITS, Example, Split
from attnlab.datasets.readers.files import BadRowError
from attnlab.datasets.readers.media import MediaSource
from attnlab.datasets.readers.rows import Row
from attnlab.datasets.targets import Span, span_target
from attnlab.errors import UserError

FASTEST = 768_000  # samples a second
STREAMED = (1 << 31) - 1024  # bytes; a program that writes to a pipe promises as many, or more
MOST_SAMPLES = 1 << 27  # of a recording, at the rate that all are brought to
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
        samples = adjusted(samples, self.sample_rate, self.longest, self.loudness)
        return Example(
            id=name,
            inputs={"audio": samples},
            answer=self.answered(row),
            attended="audio",
            meta={"row": row.place, "sample_rate": self.sample_rate, "hop": self.hop},
        )

    def opened(self, content: bytes, name: str) -> np.ndarray:
        return sound_of(content, name, self.sample_rate)


def sound_of(content: bytes, name: str, sample_rate: int) -> Samples:
    """The samples of a file at this rate.

    Raises:
        BadRowError: it cannot be read.
    """
    samples, rate = _decoded(content, name)
    if not 0 < rate <= FASTEST:
        raise BadRowError(f"'{name}' has {rate:,} samples a second, 0 or more than {FASTEST:,}")
    if len(samples) * sample_rate / rate > MOST_SAMPLES:
        raise BadRowError(f"'{name}' has more than {MOST_SAMPLES:,} samples")
    if rate != sample_rate and len(samples):
        samples = _at_rate(samples, rate, sample_rate)
    return samples


def adjusted(
    samples: Samples, sample_rate: int, longest: float | None, loudness: float | None
) -> Samples:
    """Cut to so many seconds, and brought to a loudness (the root of the mean square)."""
    if longest is not None:
        samples = samples[: round(longest * sample_rate)]
    if loudness is not None:
        own = math.sqrt(float(np.square(samples).mean()))
        samples = samples * (loudness / max(own, 1e-6))
    return samples.astype(np.float32)


def _decoded(content: bytes, name: str) -> tuple[Samples, int]:
    """Samples from -1 to 1, of all channels together, and how many a second has."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            frames, read = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # the last where a seek leads outside
        return _by_soundfile(content, name, error)
    promised = frames * width * channels
    if len(read) < promised < STREAMED:
        raise BadRowError(f"'{name}' is cut short: {len(read):,} of {promised:,} bytes")
    samples = _numbers(read[: len(read) // (width * channels) * width * channels], width)
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
    except (RuntimeError, ValueError, TypeError) as other:
        raise BadRowError(f"'{name}' is no sound ({str(other).rpartition(': ')[2]})") from None
    return samples.mean(1), rate


def _at_rate(samples: Samples, rate: int, wanted: int) -> Samples:
    """The same sound with another number of samples a second."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common).astype(np.float32)


Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class ConnectedSource(SoundSource):
    """A sound in, the words that are said in it out."""

    sounds: Mapping[str, int]
    words: tuple[int, int]
    gap_ms: tuple[int, int]
    snr_db: tuple[float, float]
    quiet_db: float | None
    seed: int

    def examples(self, split: Split) -> Iterator[Example]:
        recordings = list(super().examples(split))
        if not recordings:
            raise UserError(f"dataset.splits.{split}: no recordings to be joined")
        for number in range(self.sounds[split]):
            entropy = [self.seed, SPLITS.index(split), number]
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
            yield self._joined(f"{split}-{number}", recordings, random)

    def _joined(self, name: str, recordings: Sequence[Example], random: Random) -> Example:
        count = int(random.integers(*self.words, endpoint=True))
        chosen = [recordings[i] for i in random.integers(len(recordings), size=count)]
        words = [self._heard(np.asarray(each.inputs["audio"], np.float32)) for each in chosen]
        spans, length = self._times([len(word) for word in words], random)
        sound = np.zeros(length, np.float32)
        for word, (start, end) in zip(words, spans, strict=True):
            sound[start:end] = word
        frames = length // self.hop
        rows = [[(start // self.hop, -(-end // self.hop))] for start, end in spans]
        return Example(
            id=name,
            inputs={"audio": sound + self._noise(words, length, random)},
            answer=[str(each.answer) for each in chosen],
            target=span_target(rows, frames),  # words x frames
            attended="audio",
            meta={
                "rows": [each.meta["row"] for each in chosen],
                "seconds": [[t / self.sample_rate for t in span] for span in spans],
                "sample_rate": self.sample_rate,
                "hop": self.hop,
            },
        )

    def _heard(self, word: Samples) -> Samples:
        """A recording from its first to its last hop that is not quiet beside the loudest."""
        if self.quiet_db is None:
            return word
        hops = np.split(word, range(self.hop, len(word), self.hop))
        power = np.array([np.square(hop).mean() for hop in hops])
        loud = np.flatnonzero(power >= power.max() / 10 ** (self.quiet_db / 10))
        return word[loud[0] * self.hop : (loud[-1] + 1) * self.hop]

    def _times(self, lengths: Sequence[int], random: Random) -> tuple[list[Span], int]:
        """When each word is heard, in samples, and how long it all takes: a whole number of hops.

        Before, between and after words there is silence.
        """
        low, high = (ms * self.sample_rate // 1000 for ms in self.gap_ms)
        gaps = random.integers(low, high, len(lengths) + 1, endpoint=True)
        starts = np.cumsum(gaps[:-1] + np.array([0, *lengths[:-1]]))
        spans = [(int(s), int(s) + n) for s, n in zip(starts, lengths, strict=True)]
        length = -(-int(spans[-1][1] + gaps[-1]) // self.hop) * self.hop
        return spans, length

    def _noise(self, words: Sequence[Samples], length: int, random: Random) -> Samples:
        """White noise, so much weaker than the words are on average."""
        power = float(np.square(np.concatenate(words)).mean())
        snr = random.uniform(*self.snr_db)
        noise = np.sqrt(power / 10 ** (snr / 10)) * random.standard_normal(length)
        return noise.astype(np.float32)
