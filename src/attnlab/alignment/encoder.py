"""Word alignment by the states of a pretrained encoder (Jalili Sabet et al. 2020).

Nothing is learned. Words are alike as far as the cosine of their states goes; a word's state is the
mean of those of its pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attnlab.alignment.bitext import Reals, Sentence
from attnlab.alignment.config import AlignerSettings, Symmetrisation
from attnlab.alignment.maps import Maps
from attnlab.data.pretrained import PretrainedPieces, pretrained_pieces
from attnlab.models.backbone import Source, encoder_of, load

AT_ONCE = 32  # sentences
LAYER = 2 / 3  # of the depth: later states are less alike between languages
ATTENUATION = 0.9  # of a similarity, in later rounds, where one of both words has a link
SHARPNESS = 0.03  # entropy of a transport plan: the lower, the nearer to one link a word
BALANCING = 100  # rounds in which a plan's sums are set right


@dataclass(frozen=True)
class EncoderAligner:
    """Links words whose states are alike."""

    settings: AlignerSettings
    pieces: PretrainedPieces
    encoder: Any
    longest: int  # pieces of a sentence

    @classmethod
    def load(cls, name: str, settings: AlignerSettings) -> EncoderAligner:
        """The encoder of this name on the hub, or in a folder.

        Raises:
            UserError: there is none.
        """
        pieces = pretrained_pieces(name, None, "--encoder")
        encoder = encoder_of(load(Source(name, None, "pretrained"))).eval()
        positions = getattr(encoder.config, "max_position_embeddings", None) or 512
        return cls(settings, pieces, encoder, positions - 2)

    def maps(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence]
    ) -> Iterator[tuple[int, Maps]]:
        """The maps of sentence pairs with their places, in order; none of one that is too long."""
        lengths = [(len(s), len(t)) for s, t in zip(sources, targets, strict=True)]
        rows = [i for i, each in enumerate(lengths) if min(each) > 0]
        rows = [i for i in rows if max(lengths[i]) <= self.settings.longest]
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            sides = (
                self._states([sources[i] for i in part]),
                self._states([targets[i] for i in part]),
            )
            for row, source, target in zip(part, *sides, strict=True):
                if source is not None and target is not None:
                    yield row, self._maps((source @ target.T).numpy())

    def symmetrisation(self, maps: Sequence[Maps]) -> tuple[Symmetrisation, str]:
        """How both directions become one; cosines are no chances that could choose."""
        how = self.settings.symmetrise
        return ("agreement", ", of an encoder") if how == "auto" else (how, "")

    def _maps(self, likeness: Reals) -> Maps:
        if self.settings.encoder.links == "transport":
            plan = transport(likeness)
            return Maps(plan / plan.sum(0), plan / plan.sum(1, keepdims=True))
        both = iterated(likeness, self.settings.encoder.rounds)
        forward, backward = both.copy(), both.copy()
        forward[likeness.argmax(0), np.arange(likeness.shape[1])] = 1
        backward[np.arange(likeness.shape[0]), likeness.argmax(1)] = 1
        return Maps(forward, backward)

    @torch.no_grad()
    def _states(self, sentences: Sequence[Sentence]) -> list[torch.Tensor | None]:
        """Of each sentence, states of length one: words x width; None where it is too long."""
        numbers = [self.pieces.encode(sentence) for sentence in sentences]
        states: list[torch.Tensor | None] = [None] * len(sentences)
        rows = [i for i, each in enumerate(numbers) if len(each) <= self.longest]
        if not rows:
            return states
        units = torch.nn.utils.rnn.pad_sequence([torch.tensor(numbers[i]) for i in rows], True)
        mask = torch.arange(units.shape[1]) < torch.tensor([len(numbers[i]) for i in rows])[:, None]
        made = self.encoder(
            input_ids=torch.tensor(self.pieces.ids)[units],
            attention_mask=mask.long(),
            output_hidden_states=True,
        ).hidden_states  # the embeddings, then each layer: sentences x pieces x width
        layer = self.settings.encoder.layer
        chosen = made[
            round(LAYER * (len(made) - 1)) if layer is None else min(layer, len(made) - 1)
        ]
        for i, row in zip(rows, chosen, strict=True):
            shares = torch.zeros(len(sentences[i]), len(row))  # words x pieces
            for piece, words in enumerate(self.pieces.groups(sentences[i]).members):
                shares[list(words), piece] = 1.0
            states[i] = torch.nn.functional.normalize(shares @ row, dim=-1)
        return states


def iterated(likeness: Reals, rounds: int) -> Reals:
    """Links of words that are each other's most alike, in rounds: sources x targets, 0 or 1.

    Words that both have a link stay as they are; where one of them has, the other has to be much
    more alike to get a second.
    """
    links = np.zeros_like(likeness)
    for _ in range(rounds):
        linked = links.max(1)[:, None].astype(int) + links.max(0).astype(int)
        left = (likeness + 1) / 2 * np.choose(linked, [1.0, ATTENUATION, 0.0])
        best = (left == left.max(0)) & (left == left.max(1, keepdims=True)) & (left > 0)
        links[best] = 1
    return links


def transport(likeness: Reals) -> Reals:
    """Mass that is moved from source to target words at the least cost: sources x targets.

    All words of a side have the same mass (Cuturi 2013).
    """
    plan = np.exp((likeness - likeness.max()) / SHARPNESS).astype(np.float64)
    for _ in range(BALANCING):
        plan /= plan.sum(1, keepdims=True) * plan.shape[0]
        plan /= plan.sum(0) * plan.shape[1]
    return plan.astype(np.float32)
