"""Sentence pairs whose right alignment is known, because a rule made the translations."""

from __future__ import annotations

import random
from collections.abc import Sequence

from attnlab.alignment.config import AlignerSettings, load
from attnlab.datasets.targets import Links

Sentences = list[list[str]]
NOUNS = [f"n{i}" for i in range(30)]
ADJECTIVES = [f"a{i}" for i in range(20)]


def settings(**changes: object) -> AlignerSettings:
    return load([f"{key}={value}" for key, value in changes.items()])


def translated(count: int, seed: int = 0) -> tuple[Sentences, Sentences, list[Links]]:
    """Noun phrases; the other language has the adjective behind the noun, and an article that
    comes from no word."""
    drawn = random.Random(seed)
    sources, targets, links = [], [], []
    for _ in range(count):
        source: list[str] = []
        target: list[str] = []
        aligned = set()
        for _ in range(drawn.randint(1, 4)):
            noun, adjective = drawn.choice(NOUNS), drawn.choice(ADJECTIVES)
            start, place = len(target) + 1, len(source)
            source += [adjective, noun]
            target += ["le", translation(noun), translation(adjective)]
            aligned |= {(place, start + 1), (place + 1, start)}
        sources.append(source)
        targets.append(target)
        links.append(frozenset(aligned))
    return sources, targets, links


def translation(word: str) -> str:
    """Not written alike."""
    return f"{int(word[1:]) + 100}{word[0]}"


def error_rate(found: Sequence[Links], right: Sequence[Links]) -> float:
    """1 - F1 over all links: the alignment error rate where all links are sure."""
    common = sum(len(f & r) for f, r in zip(found, right, strict=True))
    return 1 - 2 * common / (sum(map(len, found)) + sum(map(len, right)))
