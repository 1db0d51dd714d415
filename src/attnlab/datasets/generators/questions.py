"""Questions about a canvas: "which digit is next left of the 3 ?", answered by one digit.

Neither the question nor the picture gives the answer alone. The gold map is the box of the digit
that answers; on request, that of the digit asked about comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from attnlab.data.example import Example
from attnlab.datasets.generators.canvas import Digit, Painter, Scene
from attnlab.datasets.generators.generator import MOST_DRAWS, Generator, Random, Split, pick
from attnlab.datasets.targets import box_target
from attnlab.errors import UserError

MARGIN = 3.0  # pixels by which one middle has to lie beyond another, to the eye


class Direction(NamedTuple):
    """How a relation is said, and which way it goes along which axis (0 columns, 1 rows)."""

    words: tuple[str, ...]
    axis: int
    sign: int


DIRECTIONS = {
    "left": Direction(("left", "of"), 0, -1),
    "right": Direction(("right", "of"), 0, 1),
    "above": Direction(("above",), 1, -1),
    "below": Direction(("below",), 1, 1),
}


class Question(NamedTuple):
    relation: str
    anchor: Digit
    answer: Digit

    def words(self) -> list[str]:
        relation = DIRECTIONS[self.relation].words
        return ["which", "digit", "is", "next", *relation, "the", str(self.anchor.label), "?"]


@dataclass(frozen=True, kw_only=True)
class Questions(Generator):
    """A picture and a question in, a digit out; the splits share no digit image."""

    size: int
    min_digits: int
    max_digits: int
    clutter: int
    noise: float
    relations: list[str]
    hops: int

    def make(self, name: str, split: Split, random: Random) -> Example:
        scene, question = self._asked(split, random)
        way = [[question.anchor.box], [question.answer.box]][-self.hops :]
        return Example(
            id=name,
            inputs={"image": scene.image, "question": question.words()},
            answer=str(question.answer.label),
            target=box_target(way, self.size, self.size),
            attended="image",
            meta={
                "relation": question.relation,
                "digits": [[digit.label, *digit.box] for digit in scene.digits],
            },
        )

    @cached_property
    def painter(self) -> Painter:
        return Painter(self.size, self.clutter, self.noise)

    def _asked(self, split: Split, random: Random) -> tuple[Scene, Question]:
        """A scene, and one of the questions it answers without doubt."""
        for _ in range(MOST_DRAWS):
            count = int(random.integers(self.min_digits, self.max_digits, endpoint=True))
            scene = self.painter.scene(count, split, random)
            relation = pick(random, self.relations)
            possible = clear_questions(scene.digits, relation)
            if possible:
                return scene, pick(random, possible)
        raise UserError("dataset: no clear question about such a canvas; try a larger size")


def clear_questions(digits: list[Digit], relation: str) -> list[Question]:
    """Each pair of neighbours along the relation's axis, where nobody could see another order."""
    _, axis, sign = DIRECTIONS[relation]

    def place(digit: Digit) -> float:
        return sign * digit.middle[axis]

    questions = []
    for anchor in digits:
        others = sorted((d for d in digits if d is not anchor), key=place)
        beyond = [d for d in others if place(d) > place(anchor)]
        doubtful = any(abs(place(d) - place(anchor)) < MARGIN for d in others)
        doubtful |= len(beyond) > 1 and place(beyond[1]) - place(beyond[0]) < MARGIN
        if beyond and not doubtful:
            questions.append(Question(relation, anchor, beyond[0]))
    return questions
