"""An aligner: both directions of what was learned. It aligns any text and is kept in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from attnlab.alignment.bitext import (
    Bitext,
    Counts,
    Group,
    Ids,
    Numbers,
    PairTable,
    Reals,
    Sentence,
    Vocabulary,
)
from attnlab.alignment.config import AlignerSettings, Symmetrisation
from attnlab.alignment.hmm import FARTHEST, SHARED, Emitted, Expected, Jumps, expect
from attnlab.alignment.lexicon import Lexicon, Spellings, variational
from attnlab.alignment.maps import Maps, expected_f1
from attnlab.errors import UserError

UNSEEN_TOTAL = 1.0  # counts behind the chances of a word never seen

FILE = "aligner.npz"
FORMAT = 2
DAMAGED = (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, ValidationError)

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Direction:
    """Which word makes which, and how far it is from one to the next."""

    lexicon: Lexicon
    jumps: Jumps
    none: float  # chance that a word is made by none

    def expect(self, group: Group) -> Expected:
        """Where the group's target words come from."""
        return expect(self.emitted(group), self.jumps.steps(group))

    def expect_anywhere(self, group: Group) -> tuple[Reals, Reals, Reals]:
        """The same if all places were as likely (model 1 of Brown et al. 1993).

        Links (pairs x outputs x sources), words made by none (pairs x outputs), and the log
        likelihood of each pair.
        """
        emitted = self.emitted(group)
        words = emitted.words / group.source_lengths[:, None, None].astype(np.float32)
        total = words.sum(-1) + emitted.none  # pairs x outputs
        inside = emitted.inside()
        scale = inside / np.where(inside, total, 1)
        likelihood = np.log(np.where(inside, total, 1)).sum(-1)
        return words * scale[:, :, None], emitted.none * scale, likelihood

    def emitted(self, group: Group) -> Emitted:
        """Chances of the group's target words."""
        words = self.lexicon.pairs[group.cells].transpose(0, 2, 1)
        none = self.lexicon.none[group.target]
        return Emitted((1 - self.none) * words, self.none * none, group.target_lengths)

    def extended(
        self, numbers: Numbers, prior: Counts, making: Ids, making_words: int, made_words: int
    ) -> Direction:
        """The same over other pairs and more words.

        `numbers` are those of the pairs here, `none` for one never met; `prior` their prior counts
        and `making` their making words.
        """
        old, grown = self.lexicon, making_words - len(self.lexicon.totals)
        totals = np.pad(old.totals, (0, grown), constant_values=UNSEEN_TOTAL)
        unseen = variational(prior, totals[making])
        met = numbers < len(old.pairs) - 1
        lexicon = Lexicon.of(
            np.where(met, old.pairs[numbers], unseen),
            np.pad(old.none, (0, made_words - len(old.none)), constant_values=old.none.min()),
            totals,
        )
        classes = np.pad(self.jumps.classes, (0, grown), constant_values=SHARED)
        return Direction(lexicon, Jumps(self.jumps.table, classes), self.none)

    def keeping(self, numbers: Numbers) -> Direction:
        """The same with some of the pairs only."""
        lexicon = replace(self.lexicon, pairs=np.append(self.lexicon.pairs[numbers], np.float32(0)))
        return replace(self, lexicon=lexicon)


@dataclass(frozen=True)
class Aligner:
    """Both directions of what was learned."""

    settings: AlignerSettings
    words: tuple[Vocabulary, Vocabulary]  # of sources, of targets
    pairs: PairTable
    directions: tuple[Direction, Direction]  # source words make target words; the other way round

    def maps(
        self, sources: Sequence[Sentence], targets: Sequence[Sentence]
    ) -> Iterator[tuple[int, Maps]]:
        """The maps of sentence pairs with their places, in any order.

        There is none of a pair with an empty side, or with one that is too long.
        """
        sides = written(sources, self.settings), written(targets, self.settings)
        text = Bitext.of(*sides, self.settings.longest, self.words)
        known = self._extended(text)
        for bare in text.groups():
            group = known.pairs.with_cells(bare)
            forward = known.directions[0].expect(group).links.transpose(0, 2, 1)
            backward = known.directions[1].expect(group.turned()).links
            for i, row in enumerate(group.rows):
                inside = i, slice(group.source_lengths[i]), slice(group.target_lengths[i])
                yield int(row), Maps(forward[inside], backward[inside])

    def symmetrisation(self, maps: Sequence[Maps]) -> tuple[Symmetrisation, str]:
        """How both directions of these maps become one alignment, and why."""
        if self.settings.symmetrise != "auto":
            return self.settings.symmetrise, ""
        expected = expected_f1(maps, self.settings.threshold)
        best = max(expected, key=expected.__getitem__)
        others = ", ".join(f"{how} {f1:.3f}" for how, f1 in expected.items() if how != best)
        return best, f", expected F1 {expected[best]:.3f} ({others})"

    def _extended(self, text: Bitext) -> Aligner:
        """An aligner of every pair of words that meet in this text, and of no others.

        One never met before has the chance that its prior gives: more, if it is written alike.
        """
        pairs = PairTable.of(text.groups(), len(text.words[1]))
        numbers = self.pairs.numbers(pairs.sources, pairs.targets)
        prior = prior_counts(self.settings, text.words, pairs)
        words = [len(vocabulary) for vocabulary in text.words]
        forward, backward = self.directions
        return replace(
            self,
            words=text.words,
            pairs=pairs,
            directions=(
                forward.extended(numbers, prior, pairs.sources, words[0], words[1]),
                backward.extended(numbers, prior, pairs.targets, words[1], words[0]),
            ),
        )


def written(sentences: Sequence[Sentence], settings: AlignerSettings) -> list[Sentence]:
    """Words as the aligner distinguishes them."""
    if not settings.lowercase:
        return list(sentences)
    return [[word.lower() for word in sentence] for sentence in sentences]


def prior_counts(
    settings: AlignerSettings, words: tuple[Vocabulary, Vocabulary], pairs: PairTable
) -> Counts:
    """Counts believed of each pair before it is seen."""
    spellings = Spellings(words[0].words, words[1].words)
    likeness = spellings.likeness(pairs.sources, pairs.targets)
    return settings.smoothing + settings.spelling * likeness.astype(np.float64)


def save(aligner: Aligner, folder: Path) -> Path:
    """Write the file; it is moved into place when it is whole."""
    head = {"format": FORMAT, "settings": aligner.settings.model_dump()}
    arrays: Arrays = {"head": _bytes(json.dumps(head)), "pairs": aligner.pairs.keys}
    for side, words in zip(("source", "target"), aligner.words, strict=True):
        arrays[f"{side}_words"] = _bytes("\n".join(words.words))
    for name, direction in zip(("forward", "backward"), aligner.directions, strict=True):
        arrays |= {f"{name}_{part}": array for part, array in _parts(direction).items()}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"unfinished-{FILE}"
    np.savez_compressed(unfinished, allow_pickle=False, **arrays)
    return unfinished.replace(folder / FILE)


def load(folder: Path) -> Aligner:
    """What `save` wrote into this folder."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"--model: no {FILE} in {folder}; `attnlab align` writes one to --out")
    try:
        with np.load(path, allow_pickle=False) as file:
            return _restored({name: file[name] for name in file.files})
    except DAMAGED as error:
        raise UserError(f"--model: {path} is damaged or of another version ({error})") from None


def _restored(arrays: Arrays) -> Aligner:
    head = json.loads(_text(arrays["head"]))
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']}, not {FORMAT}")
    settings = AlignerSettings.model_validate(head["settings"])
    sources, targets = (
        Vocabulary(_text(arrays[f"{side}_words"]).split("\n")) for side in ("source", "target")
    )
    words = {"source": len(sources), "target": len(targets)}
    for name, making, made in (("forward", "source", "target"), ("backward", "target", "source")):
        _check_direction(arrays, name, words[making], words[made])
    forward, backward = (
        Direction(
            Lexicon(*(arrays[f"{name}_{part}"] for part in ("pairs", "none", "totals"))),
            Jumps(arrays[f"{name}_jumps"], arrays[f"{name}_classes"]),
            settings.none,
        )
        for name in ("forward", "backward")
    )
    pairs = PairTable(arrays["pairs"], len(targets))
    return Aligner(settings, (sources, targets), pairs, (forward, backward))


def _check_direction(arrays: Arrays, name: str, making: int, made: int) -> None:
    """Raise a `ValueError` if arrays of a direction do not fit its words and the pairs."""
    classes, keys = arrays[f"{name}_classes"], arrays["pairs"]
    if keys.dtype.kind != "i" or np.any(np.diff(keys) <= 0):
        raise ValueError("'pairs' are no numbers in order")
    if classes.dtype.kind != "i" or np.any(classes < 0):
        raise ValueError(f"'{name}_classes' are no classes")
    shapes = {
        "pairs": (len(keys) + 1,),
        "none": (made,),
        "totals": (making,),
        "classes": (making,),
        "jumps": (int(classes.max(initial=SHARED)) + 1, 2 * FARTHEST + 1),
    }
    for part, shape in shapes.items():
        array = arrays[f"{name}_{part}"]
        if array.shape != shape:
            raise ValueError(f"'{name}_{part}' has {array.shape} numbers, not {shape}")
        if array.dtype.kind not in "if" or not np.all(np.isfinite(array)):
            raise ValueError(f"'{name}_{part}' holds what is no number")


def _parts(direction: Direction) -> Arrays:
    lexicon, jumps = direction.lexicon, direction.jumps
    return {
        "pairs": lexicon.pairs,
        "none": lexicon.none,
        "totals": lexicon.totals,
        "jumps": jumps.table,
        "classes": jumps.classes,
    }


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    """Bytes that were no UTF-8 in the user's file become those bytes again."""
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _text(array: npt.NDArray[Any]) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")
