"""One direction of an aligner: where each word of one side comes from on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attnlab.alignment.bitext import Counts, Group, Ids, Numbers
from attnlab.alignment.hmm import Emitted, Expected, Reals, expect
from attnlab.alignment.jumps import SHARED, Jumps
from attnlab.alignment.lexicon import Lexicon, variational

UNSEEN_TOTAL = 1.0  # counts behind the chances of a word never seen


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
