"""Facts hidden in prose, and a question that one or several of them answer.

Who is where is one hop; where a thing is takes two, the person who took it and where that person
is; in which house it is takes three. Other people, things and places have facts of the same form.
The gold map marks the facts that lead to the answer.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnlab.data.example import Example
from attnlab.datasets.generators.generator import Generator, Random, Split, drawn_for, pick
from attnlab.datasets.readers.files import find_files, lines
from attnlab.datasets.targets import span_target
from attnlab.errors import UserError

SENTENCE, WORD = re.compile(r"[^.!?]+[.!?]*"), re.compile(r"\w+|[^\w\s]")

PEOPLE, THINGS, PLACES, HOUSES = (
    words.split()
    for words in (
        "mary john sandra daniel julie fred bill emily lena omar ruth igor nina paul rosa hugo "
        "clara felix greta ivan",
        "apple football lamp letter key violin ladder basket kettle compass ribbon whistle camera "
        "hammer candle umbrella mirror map coin drum",
        "kitchen garden office bathroom hallway bedroom cellar attic library garage balcony studio "
        "laundry pantry workshop chapel",
        "manor castle cottage villa mill abbey lodge barn tower inn school museum theatre hospital "
        "station palace",
    )
)
FACTS = (  # of each hop, the one that answers its question directly first
    ("{person} went to the {place}", "{person} is now in the {place}"),
    ("{person} took the {thing}", "{person} has got the {thing}"),
    ("the {place} is part of the {house}", "the {place} belongs to the {house}"),
)
QUESTIONS = ("where is {person} ?", "where is the {thing} ?", "in which house is the {thing} ?")
PROSE = [  # nouns, adjectives, verbs, prepositions
    words.split()
    for words in (
        "river cloud sailor mountain winter story market teacher forest evening road child harbour "
        "window summer island song farmer stone bridge morning ship village shadow doctor field",
        "old quiet bright narrow green distant cold gentle heavy proud empty golden strange small "
        "broad silent early dusty",
        "follows remembers crosses paints watches leaves hears needs forgets finds carries meets "
        "praises fears",
        "near behind beyond under before after without beside",
    )
]
SENTENCES = (  # a number is replaced by a random word of the list PROSE[number]
    ("the", 1, 0, 2, "the", 0, "."),
    ("the", 0, 2, "the", 1, 0, 3, "the", 0, "."),
    (3, "the", 0, "the", 1, 0, 2, "one", 0, "."),
    ("one", 0, 2, "no", 0, "."),
)


@dataclass(frozen=True, kw_only=True)
class Haystack(Generator):
    """Words in, the place (or house) out; the question comes last."""

    length: int
    hops: int
    distractors: int
    prose: str | None

    def make(self, name: str, split: Split, random: Random) -> Example:
        hops = int(random.integers(1, self.hops, endpoint=True))  # facts that the answer takes
        people, things, places, houses = drawn_for(
            split, lambda: self._chains(random), lambda chains: " ".join(c[0] for c in chains)
        )
        facts: list[tuple[list[str], bool]] = []  # words, and whether they lead to the answer
        for chain in zip(people, things, places, houses, strict=True):
            named = dict(zip(("person", "thing", "place", "house"), chain, strict=True))
            facts += [
                (
                    [*pick(random, FACTS[hop]).format(**named).split(), "."],
                    chain[0] == people[0] and hop < hops,
                )
                for hop in range(self.hops)
            ]
        question = QUESTIONS[hops - 1].format(person=people[0], thing=things[0]).split()
        room = self.length - len(question) - sum(len(words) for words, _ in facts)
        prose = self._prose(room, random)
        order = [facts[i] for i in random.permutation(len(facts))]
        before = np.sort(random.integers(len(prose) + 1, size=len(order)))
        words, spans = [], []
        for number in range(len(prose) + 1):
            for place in np.flatnonzero(before == number):
                fact, leads = order[place]
                if leads:
                    spans.append((len(words), len(words) + len(fact) - 1))
                words += fact
            words += prose[number] if number < len(prose) else question
        return Example(
            id=name,
            inputs={"text": words},
            answer=(houses if hops == len(FACTS) else places)[0],
            target=span_target([spans], len(words)),
            meta={"hops": hops, "evidence": [list(span) for span in spans]},
        )

    def _prose(self, length: int, random: Random) -> list[list[str]]:
        """Sentences of so many words together; the first one may lack its beginning."""
        drawn = made_up(random) if self.prose is None else backwards(self.prose, random)
        made: list[list[str]] = []
        while length > 0:
            made.append(next(drawn)[-length:])
            length -= len(made[-1])
        return made[::-1]

    def _chains(self, random: Random) -> Sequence[list[str]]:
        """Names of people, things, places and houses without repetition; the question is about the
        first of each."""
        count = self.distractors + 1
        return [
            [str(word) for word in random.choice(words, count, replace=False)]
            for words in (PEOPLE, THINGS, PLACES, HOUSES)
        ]


def made_up(random: Random) -> Iterator[list[str]]:
    """Sentences of the generator's own."""
    while True:
        form = pick(random, SENTENCES)
        drawn = random.integers(2**31, size=len(form)).tolist()
        yield [
            PROSE[each][number % len(PROSE[each])] if isinstance(each, int) else each
            for each, number in zip(form, drawn, strict=True)
        ]


def backwards(file: str, random: Random) -> Iterator[list[str]]:
    """Sentences of a file, from one drawn at random towards its beginning, and round again."""
    known = sentences_of(file)
    for number in itertools.count(int(random.integers(len(known))), -1):
        yield list(known[number % len(known)])


@functools.cache
def sentences_of(file: str) -> list[list[str]]:
    """The words of each sentence of a text file, in lower case, its stop included."""
    (path,) = find_files(Path(), file, "dataset.prose")
    text = " ".join(lines(path)).lower()
    known = [WORD.findall(sentence) for sentence in SENTENCE.findall(text)]
    known = [words for words in known if words]
    if not known:
        raise UserError(f"dataset.prose: {path} has no words")
    return known
