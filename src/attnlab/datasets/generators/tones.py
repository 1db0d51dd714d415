"""Telephone keypad tones in noise (DTMF, ITU-T Q.23): a waveform in, the keys pressed out.

Each key is two sine waves, one for its row and one for its column. The gold map says when each key
was heard, in frames of a declared hop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnlab.data.example import Array, Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for
from attnlab.datasets.targets import Span, span_target

KEYPAD = ("123A", "456B", "789C", "*0#D")
ROW_TONES = (697.0, 770.0, 852.0, 941.0)  # Hz
COLUMN_TONES = (1209.0, 1336.0, 1477.0, 1633.0)  # Hz
TONES = {
    key: (ROW_TONES[row], COLUMN_TONES[column])
    for row, keys in enumerate(KEYPAD)
    for column, key in enumerate(keys)
}
RAMP_SECONDS = 0.005  # a tone that starts at once would click


@dataclass(frozen=True, kw_only=True)
class Tones(Generator):
    """Samples in, keys out; the splits share no number dialled."""

    keys: str
    min_keys: int
    max_keys: int
    sample_rate: int
    hop: int
    min_tone_ms: int
    max_tone_ms: int
    min_gap_ms: int
    max_gap_ms: int
    snr_db: float
    detune: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        number = drawn_for(split, lambda: self._number(random), str)
        spans, length = self._times(len(number), random)
        frames = length // self.hop
        rows = [[(start // self.hop, -(-end // self.hop))] for start, end in spans]
        return Example(
            id=name,
            inputs={"audio": self._sound(number, spans, length, random)},
            answer=list(number),
            target=span_target(rows, frames),  # keys pressed x frames
            attended="audio",
            meta={
                "sample_rate": self.sample_rate,
                "hop": self.hop,
                "seconds": [[t / self.sample_rate for t in span] for span in spans],
            },
        )

    def _number(self, random: Random) -> str:
        length = int(random.integers(self.min_keys, self.max_keys, endpoint=True))
        return "".join(self.keys[i] for i in random.integers(len(self.keys), size=length))

    def _times(self, count: int, random: Random) -> tuple[list[Span], int]:
        """When each key is down, in samples, and how long it all takes: a whole number of hops."""
        tones = self._samples(random, self.min_tone_ms, self.max_tone_ms, count)
        gaps = self._samples(random, self.min_gap_ms, self.max_gap_ms, count + 1)
        starts = np.cumsum(gaps[:-1] + np.concatenate([[0], tones[:-1]]))
        ends = starts + tones
        length = -(-int(ends[-1] + gaps[-1]) // self.hop) * self.hop
        return [(int(s), int(e)) for s, e in zip(starts, ends, strict=True)], length

    def _samples(self, random: Random, low: int, high: int, count: int) -> npt.NDArray[np.int64]:
        """Durations between two numbers of milliseconds."""
        return random.integers(low, high, count, endpoint=True) * self.sample_rate // 1000

    def _sound(self, number: str, spans: list[Span], length: int, random: Random) -> Array:
        sound = np.zeros(length)
        for key, (start, end) in zip(number, spans, strict=True):
            sound[start:end] = self._tone(key, end - start, random)
        # The power of two sines of amplitude 1/2 each is 1/4.
        noise = np.sqrt(0.25 / 10 ** (self.snr_db / 10))
        return (sound + noise * random.standard_normal(length)).astype(np.float32)

    def _tone(self, key: str, length: int, random: Random) -> npt.NDArray[np.float64]:
        seconds = np.arange(length) / self.sample_rate
        tone = np.zeros(length)
        for frequency in TONES[key]:
            off, phase = random.random(2)
            detuned = frequency * (1 + self.detune * (2 * off - 1))
            tone += 0.5 * np.sin(2 * np.pi * (detuned * seconds + phase))
        edge = np.minimum(seconds, seconds[::-1]) / RAMP_SECONDS
        return tone * np.minimum(edge, 1)
