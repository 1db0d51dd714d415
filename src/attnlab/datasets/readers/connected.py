"""`ConnectedSource`: recordings of single words, joined to longer sounds with noise all over.

Each sound is drawn from a stream of its own, by the seed, the split and its number, from the
recordings of its split alone. When each word is heard is known, and so is the gold map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.data.example import Example
from attnlab.data.source import SPLITS, Split
from attnlab.datasets.readers.sounds import Samples, SoundSource
from attnlab.datasets.targets.spans import Span, span_target
from attnlab.errors import UserError

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
        spoken = list(super().examples(split))
        if not spoken:
            raise UserError(f"dataset.splits.{split}: no recordings to be joined")
        for number in range(self.sounds[split]):
            entropy = [self.seed, SPLITS.index(split), number]
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
            yield self._joined(f"{split}-{number}", spoken, random)

    def _joined(self, name: str, spoken: Sequence[Example], random: Random) -> Example:
        count = int(random.integers(*self.words, endpoint=True))
        chosen = [spoken[i] for i in random.integers(len(spoken), size=count)]
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
