"""Reviews whose verdict is said in a few known words, among facts and other people's opinions.

The writer's own opinions all point one way and give the label; the gold map marks their words.
What others think points either way, and a negation turns any word round, so no list of words
gives the answer: who says it and whether it is denied both count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for, pick
from attnlab.datasets.targets import Span, span_target

LABELS = ("negative", "positive")
ADJECTIVES = [  # by polarity: negative, positive
    words.split()
    for words in (
        "boring awful clumsy shallow tedious lifeless dreadful predictable weak sloppy noisy bland",
        "brilliant moving clever gripping charming superb fresh elegant funny honest warm splendid",
    )
]
VERBS = [
    words.split()
    for words in ("dislike regret hate resent despise", "like enjoy love admire recommend")
]
NEGATORS = ("not", "never", "hardly", "anything but", "far from")
DEGREES = ("very", "really", "quite", "truly", "rather")
THINGS = ["plot", "acting", "music", "camera", "ending", "cast", "pace", "script", "story", "sound"]
PEOPLE = ["sister", "neighbour", "colleague", "father", "boss", "friend", "cousin", "teacher"]
FACTS = (
    "it runs for {number} minutes .",
    "we saw it on {day} with my {person} .",
    "the {thing} is by the same team as last time .",
    "there were {number} people in the hall .",
    "the tickets cost {number} euros each .",
    "i wrote down a line about the {thing} on {day} .",
    "my {person} came {number} minutes late .",
    "they talk about the {thing} for the first {number} minutes .",
)
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
OWN = (  # @ is where the opinion stands
    "the {thing} was @ .",
    "i found the {thing} @ .",
    "to me the {thing} is @ .",
    "in my view the {thing} seemed @ .",
    "i @ the {thing} .",
)
OTHERS = (
    "my {person} called the {thing} @ .",
    "critics found the {thing} @ .",
    "according to my {person} the {thing} is @ .",
    "before that i was told the {thing} was @ .",
    "people who @ the {thing} will disagree with me .",
)

Sentence = list[tuple[str, bool]]  # words, and whether they are part of the rationale


@dataclass(frozen=True, kw_only=True)
class Reviews(Generator):
    """Words in, 'positive' or 'negative' out; the splits share no review."""

    min_sentences: int
    max_sentences: int
    opinions: int
    distractors: int
    negation: float

    def make(self, name: str, split: Split, random: Random) -> Example:
        label, sentences = drawn_for(split, lambda: self._review(random), _text)
        words = [word for sentence in sentences for word, _ in sentence]
        marks = [is_reason for sentence in sentences for _, is_reason in sentence]
        rationale = spans(marks)
        return Example(
            id=name,
            inputs={"text": words},
            answer=LABELS[label],
            target=span_target([rationale], len(words)),
            meta={"rationale": [list(span) for span in rationale]},
        )

    def _review(self, random: Random) -> tuple[int, list[Sentence]]:
        length = int(random.integers(self.min_sentences, self.max_sentences, endpoint=True))
        own = int(random.integers(1, min(self.opinions, length), endpoint=True))
        others = int(random.integers(0, min(self.distractors, length - own), endpoint=True))
        label = int(random.integers(2))
        sentences = [self._opinion(pick(random, OWN), label, True, random) for _ in range(own)]
        for _ in range(others):
            polarity = int(random.integers(2))
            sentences.append(self._opinion(pick(random, OTHERS), polarity, False, random))
        for _ in range(length - own - others):
            sentences.append([(w, False) for w in _filled(pick(random, FACTS), random).split()])
        return label, [sentences[i] for i in random.permutation(length)]

    def _opinion(self, frame: str, polarity: int, is_reason: bool, random: Random) -> Sentence:
        """A sentence that says something good (1) or bad (0), perhaps by denying the opposite."""
        negated = bool(random.random() < self.negation)
        word_polarity = 1 - polarity if negated else polarity
        before, after = _filled(frame, random).split("@")
        if _takes_verb(frame):
            opinion = [*(["do", "not"] if negated else []), pick(random, VERBS[word_polarity])]
        else:
            opinion = [pick(random, ADJECTIVES[word_polarity])]
            if random.random() < 0.3:
                opinion = [pick(random, DEGREES), *opinion]
            if negated:
                opinion = [*pick(random, NEGATORS).split(), *opinion]
        return [
            *((word, False) for word in before.split()),
            *((word, is_reason) for word in opinion),
            *((word, False) for word in after.split()),
        ]


def _takes_verb(frame: str) -> bool:
    return "@ the" in frame


def _filled(frame: str, random: Random) -> str:
    return frame.format(
        thing=pick(random, THINGS),
        person=pick(random, PEOPLE),
        day=pick(random, DAYS),
        number=int(random.integers(2, 200)),
    )


def _text(review: tuple[int, list[Sentence]]) -> str:
    return " ".join(word for sentence in review[1] for word, _ in sentence)


def spans(marks: list[bool]) -> list[Span]:
    """The stretches of marked words: first, and one past the last."""
    padded = np.diff(np.array([False, *marks, False]).astype(np.int8))
    starts, ends = np.flatnonzero(padded == 1), np.flatnonzero(padded == -1)
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
