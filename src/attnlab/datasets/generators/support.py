"""Talks with customer service, of which the last reply is missing.

What the reply has to say stands in what the customer said: what was bought, what is wrong with it,
what is wished for, the order's number, a day. Other orders, items and days are named, too, and do
not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for, pick
from attnlab.datasets.generators.reviews import DAYS
from attnlab.datasets.targets import span_target

ITEMS = [
    *("lamp", "kettle", "tent", "chair", "radio", "clock", "bicycle", "toaster", "blanket"),
    *("camera", "guitar", "mirror", "printer", "backpack", "scale", "drill", "jacket"),
    *("keyboard", "vase", "heater", "telescope", "sofa", "rug", "helmet"),
]
MARK = re.compile(r"\{(\w+)(?:\|([^}]*))?\}")  # {name} is filled in, {name|words} is what it says


@dataclass(frozen=True)
class Wish:
    """What a customer may ask for: how it is said, and the reply that follows."""

    wordings: tuple[str, ...]
    reply: str  # a name in it stands for the customer's words of that name


@dataclass(frozen=True)
class Case:
    """What may have happened: how it is told, and what may be wished for then."""

    wordings: tuple[str, ...]
    wishes: dict[str, Wish]


CASES = {
    "broken": Case(
        (
            "{problem|it does not work} any more .",
            "when i opened the box {problem|it was broken} .",
            "{problem|it fell apart} after one day .",
        ),
        {
            "new": Wish(
                ("i would like {wish|a new one} .", "could you {wish|replace it} ?"),
                "we are {problem|sorry} . {wish|a new} {item} for order {number} leaves on {day} .",
            ),
            "money": Wish(
                ("i want {wish|my money back} .", "please {wish|refund} me ."),
                "we are {problem|sorry} . {wish|the money} for the {item} of order {number} "
                "is yours by {day} .",
            ),
        },
    ),
    "late": Case(
        (
            "{problem|it has not arrived} yet .",
            "i am {problem|still waiting} for it .",
            "{problem|where is} it ?",
        ),
        {
            "home": Wish(
                ("it has to come {wish|to my house} .", "bring it {wish|to my door} ."),
                "order {number} is {problem|on its way} . the {item} {wish|comes to you} "
                "on {day} .",
            ),
            "shop": Wish(
                ("i will {wish|fetch it} from the shop .", "i can {wish|pick it up} myself ."),
                "order {number} is {problem|on its way} . the {item} {wish|is in the shop} "
                "on {day} .",
            ),
        },
    ),
    "bill": Case(
        (
            "i have {problem|paid twice} for it .",
            "{problem|the bill is wrong} .",
            "you have {problem|charged too much} .",
        ),
        {
            "letter": Wish(
                ("please {wish|write to me} .", "send me {wish|a letter} ."),
                "we {problem|correct the bill} for the {item} of order {number} and "
                "{wish|write} to you on {day} .",
            ),
            "call": Wish(
                ("please {wish|call me} .", "give me {wish|a ring} ."),
                "we {problem|correct the bill} for the {item} of order {number} and "
                "{wish|call} you on {day} .",
            ),
        },
    ),
}
OPENINGS = (
    "customer : hello , i bought a {item} from you .",
    "customer : good morning . it is about the {item} that i ordered .",
    "customer : i have a question about my {item} .",
)
ASKING = ("agent : what is the matter with it ?", "agent : hello , how can i help ?")
NUMBERS = (
    "agent : what is the number of the order ? customer : it is {number} .",
    "agent : may i have the number ? customer : yes , {number} .",
)
DATES = (
    "agent : when does it suit you ? customer : {day} is best .",
    "agent : which day , please ? customer : on {day} .",
)
ASIDES = (  # of other things, which do not count
    "customer : my order {other_number} last month was fine .",
    "customer : the {other_item} is very good , by the way .",
    "customer : not on {other_day} , i am away then .",
    "agent : is it the {other_item} ? customer : no .",
    "customer : my neighbour has the same {other_item} .",
)

NamedWords = list[tuple[str, str]]  # words, and the name of what each is a part of, or nothing


@dataclass(frozen=True, kw_only=True)
class Support(Generator):
    """A talk in, the words of the reply out; the splits share no talk."""

    digits: int
    asides: int

    def make(self, name: str, split: Split, random: Random) -> Example:
        talk, reply, case = drawn_for(split, lambda: self._talk(random), lambda t: _text(t[0]))
        names = [what for _, what in talk]
        rows = [[(i, i + 1) for i, what in enumerate(names) if what == own] for _, own in reply]
        gold = [row if own else None for row, (_, own) in zip(rows, reply, strict=True)]
        return Example(
            id=name,
            inputs={"text": [word for word, _ in talk]},
            answer=[word for word, _ in reply],
            target=span_target(gold, len(talk)),
            meta={"case": case},
        )

    def _talk(self, random: Random) -> tuple[NamedWords, NamedWords, str]:
        """What was said, the reply, and what it is about."""
        name = pick(random, list(CASES))
        case = CASES[name]
        wish = pick(random, list(case.wishes))
        item, other_item = random.choice(ITEMS, 2, replace=False).tolist()
        day, other_day = random.choice(DAYS, 2, replace=False).tolist()
        words = {"item": item, "other_item": other_item, "day": day, "other_day": other_day}
        words |= {"number": self._number(random), "other_number": self._number(random)}
        asides = random.choice(ASIDES, int(random.integers(self.asides, endpoint=True)), False)
        wished = f"customer : {pick(random, case.wishes[wish].wordings)}"
        later = [pick(random, NUMBERS), pick(random, DATES), wished, *asides.tolist()]
        turns = [
            pick(random, OPENINGS),
            pick(random, ASKING),
            f"customer : {pick(random, case.wordings)}",
        ]
        turns += [later[i] for i in random.permutation(len(later))]
        talk = [word for turn in turns for word in filled(turn, words)]
        return talk, filled(case.wishes[wish].reply, words), f"{name}, {wish}"

    def _number(self, random: Random) -> str:
        return " ".join(str(digit) for digit in random.integers(10, size=self.digits))


def filled(sentence: str, words: dict[str, str]) -> NamedWords:
    """The words of a sentence, each digit of a number named by its place."""
    named: NamedWords = []
    end = 0
    for mark in MARK.finditer(sentence):
        named += [(word, "") for word in sentence[end : mark.start()].split()]
        name, own = mark[1], mark[2]
        parts = (words[name] if own is None else own).split()
        named += [(word, f"{name} {i}" if word.isdigit() else name) for i, word in enumerate(parts)]
        end = mark.end()
    return named + [(word, "") for word in sentence[end:].split()]


def _text(sentence: NamedWords) -> str:
    return " ".join(word for word, _ in sentence)
