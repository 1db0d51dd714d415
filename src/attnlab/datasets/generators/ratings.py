"""Reviews with scores, of which the writer's own have to be averaged.

Other people's scores and numbers in facts do not count, so that the answer depends on who says a
number. The gold map marks the writer's own scores: a map that is right gives their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for, pick
from attnlab.datasets.generators.reviews import PEOPLE, THINGS
from attnlab.datasets.targets import span_target

OWN = (  # @ is where the number stands
    "i give the {thing} @ points .",
    "for the {thing} i would say @ .",
    "my score for the {thing} is @ .",
    "the {thing} is worth @ to me .",
)
OTHERS = (
    "my {person} gives the {thing} @ points .",
    "for the {thing} my {person} would say @ .",
    "the score of my {person} for the {thing} is @ .",
    "the {thing} is worth @ to critics .",
)
FACTS = (
    "my {person} came @ minutes late .",
    "the {thing} was changed @ times .",
    "there were @ of us in the hall .",
)

Sentence = tuple[list[str], int]  # words, and where in them the number stands


@dataclass(frozen=True, kw_only=True)
class Ratings(Generator):
    """Words in, one number out: the mean of the writer's own scores."""

    scores: int
    distractors: int
    highest: int

    def make(self, name: str, split: Split, random: Random) -> Example:
        sentences, own = drawn_for(split, lambda: self._review(random), _text)
        starts = [0]
        for words, _ in sentences:
            starts.append(starts[-1] + len(words))
        positions = [starts[i] + sentences[i][1] for i in own]
        words = [word for sentence, _ in sentences for word in sentence]
        return Example(
            id=name,
            inputs={"text": words},
            answer=sum(int(words[position]) for position in positions) / len(positions),
            target=span_target([[(position, position + 1) for position in positions]], len(words)),
            meta={"scores": positions},
        )

    def _review(self, random: Random) -> tuple[list[Sentence], list[int]]:
        """The sentences, and which of them hold the writer's own scores."""
        own = int(random.integers(1, self.scores, endpoint=True))
        others = int(random.integers(0, self.distractors, endpoint=True))
        frames = [pick(random, OWN) for _ in range(own)]
        frames += [pick(random, (OTHERS, FACTS)[int(random.integers(2))]) for _ in range(others)]
        order = random.permutation(len(frames)).tolist()
        sentences = [self._filled(frames[i], random) for i in order]
        return sentences, [position for position, i in enumerate(order) if i < own]

    def _filled(self, frame: str, random: Random) -> Sentence:
        words = frame.format(thing=pick(random, THINGS), person=pick(random, PEOPLE)).split()
        position = words.index("@")
        words[position] = str(int(random.integers(self.highest, endpoint=True)))
        return words, position


def _text(review: tuple[list[Sentence], list[int]]) -> str:
    return " ".join(word for words, _ in review[0] for word in words)
