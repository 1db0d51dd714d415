"""From a decoder's scores to whole answers: greedy, sampled, or by beam search.

The decoder goes step by step with what it keeps between steps (projected keys and values of all
earlier units, and of the input), so that a step costs the same wherever it stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnlab.data.vocabulary import BOS, EOS, PAD
from attnlab.models.builder import Decoder
from attnlab.models.ensemble import OpenTap
from attnlab.models.memory import Memory

IMPOSSIBLE = float("-inf")


class Decoded(NamedTuple):
    """Answers of each input, the best first."""

    units: Tensor  # batch x answers x length: the end mark included, padding after it
    scores: Tensor  # batch x answers: log probability, with what the search adds or takes off


class Decoding(ABC):
    """A way to choose units."""

    @abstractmethod
    def __call__(self, decoder: Decoder, memory: Memory, longest: int, tap: OpenTap) -> Decoded:
        """Answers of at most `longest` units; `tap`, not yet open, sees the map of each step."""


class StepByStep(Decoding):
    """Each unit is final before the next is chosen."""

    answers: int = 1

    def __call__(self, decoder: Decoder, memory: Memory, longest: int, tap: OpenTap) -> Decoded:
        inputs = len(memory.mask)
        rows = torch.arange(inputs, device=memory.mask.device).repeat_interleave(self.answers)
        state = decoder.start(memory)
        if self.answers > 1:
            state = state.select(rows)
        units = torch.full_like(rows, BOS)
        scores = torch.zeros_like(rows, dtype=torch.float32)
        ended = torch.zeros_like(rows, dtype=torch.bool)
        written: list[Tensor] = []
        for _ in range(longest):
            step = decoder.step(units, state).float()  # rows x units
            units = self.pick(step).masked_fill(ended, PAD)
            chosen = step.gather(1, units[:, None])[:, 0] - step.logsumexp(1)
            scores = scores + chosen.masked_fill(ended, 0.0)
            written.append(units)
            ended = ended | (units == EOS)
            if ended.all():
                break
        made = torch.stack(written, 1).view(inputs, self.answers, -1)
        scores, order = scores.view(inputs, self.answers).sort(1, descending=True)
        return Decoded(made.gather(1, order[..., None].expand_as(made)), scores)

    @abstractmethod
    def pick(self, scores: Tensor) -> Tensor:
        """The unit of each row; scores are rows x units."""


class Greedy(StepByStep):
    """The most likely unit at every step."""

    def pick(self, scores: Tensor) -> Tensor:
        return scores.argmax(-1)


class Sample(StepByStep):
    """Samples among the likeliest units (top-p is nucleus sampling, Holtzman et al. 2020)."""

    def __init__(
        self, *, answers: int, temperature: float, top_k: int, top_p: float, seed: int
    ) -> None:
        self.answers, self.temperature = answers, temperature
        self.top_k, self.top_p = top_k, top_p
        self.random = torch.Generator().manual_seed(seed)

    def pick(self, scores: Tensor) -> Tensor:
        probabilities = self.kept(scores / self.temperature).softmax(-1)
        # Sampled on the CPU: the same seed gives the same answers on every device.
        return torch.multinomial(probabilities.cpu(), 1, generator=self.random)[:, 0].to(
            scores.device
        )

    def kept(self, scores: Tensor) -> Tensor:
        """The scores of the units that may be sampled, the others impossible: rows x units."""
        ordered, order = scores.sort(-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # mass of likelier units
        dropped = before >= self.top_p
        if self.top_k:
            dropped[:, self.top_k :] = True
        dropped[:, 0] = False
        return scores.masked_fill(dropped.gather(1, order.argsort(-1)), IMPOSSIBLE)


@dataclass
class Prefixes:
    """What a beam holds: for each input the likeliest prefixes that have not ended."""

    state: Any  # what the decoder keeps, a row for each prefix
    units: Tensor  # inputs x beams x length so far, the begin mark first
    scores: Tensor  # inputs x beams: log probability
    received: Tensor  # inputs x beams x keys: attention received by each key

    def follow(self, beams: Tensor, units: Tensor, scores: Tensor) -> Prefixes:
        """The prefixes that go on, each with one more unit: all inputs x beams."""
        inputs, kept = beams.shape
        first = torch.arange(inputs, device=beams.device)[:, None] * kept
        self.state.reorder((first + beams).flatten())
        known = self.units.gather(1, beams[..., None].expand(-1, -1, self.units.shape[2]))
        received = self.received.gather(1, beams[..., None].expand_as(self.received))
        return Prefixes(self.state, torch.cat([known, units[..., None]], 2), scores, received)

    def of(self, inputs: Tensor) -> Prefixes:
        """Those of some of the inputs."""
        beams = torch.arange(self.units.shape[1], device=inputs.device)
        rows = (inputs[:, None] * len(beams) + beams).flatten()
        state = self.state.select(rows)
        return Prefixes(state, self.units[inputs], self.scores[inputs], self.received[inputs])


class Ended:
    """The best ended answers of each input so far."""

    def __init__(self, inputs: int, kept: int, longest: int, like: Tensor) -> None:
        self.units = torch.full((inputs, kept, longest), PAD, device=like.device)
        self.scores = torch.full((inputs, kept), IMPOSSIBLE, device=like.device)

    def add(self, inputs: Tensor, units: Tensor, scores: Tensor) -> None:
        """Units inputs x beams x length, scores inputs x beams; what has not ended is -inf."""
        padded = torch.nn.functional.pad(units, (0, self.units.shape[2] - units.shape[2]))
        every = torch.cat([self.units[inputs], padded], 1)
        best, order = torch.cat([self.scores[inputs], scores], 1).topk(self.scores.shape[1])
        self.scores[inputs] = best
        self.units[inputs] = every.gather(1, order[..., None].expand(-1, -1, every.shape[2]))


class Beam(Decoding):
    """Beam search, with the length and coverage penalties of Wu et al. 2016 (GNMT).

    An input is done when as many answers have ended as there are beams, and no prefix that
    goes on scores better than the worst of them.
    """

    def __init__(
        self, *, size: int, answers: int, length_penalty: float, coverage_penalty: float
    ) -> None:
        self.size, self.answers = size, answers
        self.length_penalty, self.coverage_penalty = length_penalty, coverage_penalty

    def __call__(self, decoder: Decoder, memory: Memory, longest: int, tap: OpenTap) -> Decoded:
        ended = Ended(len(memory.mask), self.size, longest, memory.values)
        going = torch.arange(len(memory.mask), device=memory.mask.device)  # inputs not done
        beams = self._first(decoder, memory)
        real = memory.mask
        with tap if self.coverage_penalty else nullcontext():
            for length in range(1, longest + 1):
                beams, final, stopped = self._step(decoder, beams, real, tap)
                if length == longest:  # what has not ended by now ends here
                    rest = self._final(beams.scores, length, beams.received, real)
                    ended.add(going, beams.units[:, :, 1:], rest)
                ended.add(going, stopped, final)
                reachable = self._final(beams.scores, length, beams.received, real).amax(1)
                open_ = reachable > ended.scores[going, -1]
                if not open_.any():
                    break
                if not open_.all():
                    still = open_.nonzero()[:, 0]
                    going, real, beams = going[still], real[still], beams.of(still)
        return Decoded(ended.units[:, : self.answers], ended.scores[:, : self.answers])

    def _first(self, decoder: Decoder, memory: Memory) -> Prefixes:
        """One prefix for each input; its copies are impossible, so that it is followed once."""
        inputs, keys = memory.mask.shape
        device = memory.mask.device
        rows = torch.arange(inputs, device=device).repeat_interleave(self.size)
        scores = torch.full((inputs, self.size), IMPOSSIBLE, device=device)
        scores[:, 0] = 0.0
        units = torch.full((inputs, self.size, 1), BOS, device=device)
        received = torch.zeros(inputs, self.size, keys, device=device)
        return Prefixes(decoder.start(memory).select(rows), units, scores, received)

    def _step(
        self, decoder: Decoder, beams: Prefixes, real: Tensor, tap: OpenTap
    ) -> tuple[Prefixes, Tensor, Tensor]:
        """One more unit: what goes on, and what ended with its final scores and units."""
        inputs, kept = beams.scores.shape
        step = decoder.step(beams.units[:, :, -1].flatten(), beams.state).float()
        if self.coverage_penalty:
            received = tap.weights().mean(1)[:, -1]  # rows x keys
            beams.received = beams.received + received.view_as(beams.received)
            tap.clear()
        # The best of all are among the best of each row: the search over all units is that alone.
        best, units = step.topk(min(2 * kept, step.shape[1]), dim=1)  # rows x candidates
        best = best - step.logsumexp(1, keepdim=True)
        total = (beams.scores.view(-1, 1) + best).view(inputs, -1)
        scores, indices = total.topk(min(2 * kept, total.shape[1]), dim=1)  # inputs x 2 beams
        beam, unit = indices // best.shape[1], units.view(inputs, -1).gather(1, indices)
        ends = unit == EOS
        within = torch.arange(ends.shape[1], device=ends.device) < kept  # as beams are: no more end
        known = beams.units.gather(1, beam[..., None].expand(-1, -1, beams.units.shape[2]))
        stopped = torch.cat([known[:, :, 1:], unit[..., None]], 2)
        received = beams.received.gather(1, beam[..., None].expand(-1, -1, beams.received.shape[2]))
        final = self._final(scores, stopped.shape[2], received, real)
        final = final.masked_fill(~(ends & within), IMPOSSIBLE)
        going, order = scores.masked_fill(ends, IMPOSSIBLE).topk(kept, dim=1)
        followed = beams.follow(beam.gather(1, order), unit.gather(1, order), going)
        return followed, final, stopped

    def _final(self, scores: Tensor, length: int, received: Tensor, real: Tensor) -> Tensor:
        """Scores of answers that have so many units: inputs x beams."""
        scores = scores / ((5 + length) / 6) ** self.length_penalty
        if not self.coverage_penalty:
            return scores
        covered = received.clamp(1e-6, 1.0).log() * real[:, None]  # inputs x beams x keys
        return scores + self.coverage_penalty * covered.sum(-1)
