"""Which examples a report shows: spread over a split, and fewer where their maps are large."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.report.examples import gold_text, keys_of, queries_of, shown_rows

MOST_OF_ALL = 2**22  # weights of all maps that are shown, so that a page stays light


def largest_map(examples: Iterable[Example], codec: Codec) -> tuple[int, int]:
    """The most rows and keys that the map of an example has."""
    return max((_map_size(each, codec) for each in examples), key=math.prod, default=(0, 0))


def _map_size(example: Example, codec: Codec) -> tuple[int, int]:
    return len(queries_of(example, codec)), len(keys_of(example, codec))


def choose_shown(examples: Sequence[Example], codec: Codec, count: int) -> list[int]:
    """Positions of up to so many examples to show, fewer where their maps are large."""
    golds = [gold_text(example, codec) for example in examples]
    while True:
        chosen = choose_examples(golds, count)
        sizes = [_map_size(examples[i], codec) for i in chosen]
        if sum(shown_rows(*size) * size[1] for size in sizes) <= MOST_OF_ALL or count == 1:
            return chosen
        count = max(count * 3 // 4, 1)


def choose_examples(golds: Sequence[str], count: int) -> list[int]:
    """Positions of the examples to show, in their order.

    A file is often sorted, so that its first examples are all alike. Examples are grouped by their
    gold answers, where several have the same; each group has its share, at least one, and its
    examples are spread evenly over the file.

    Args:
        golds: the gold answer of each example.
        count: how many to choose; all, if there are fewer.
    """
    groups: dict[str, list[int]] = {}
    for position, gold in enumerate(golds):
        groups.setdefault(gold, []).append(position)
    if len(groups) > count // 2:  # answers are mostly unique
        groups = {"": list(range(len(golds)))}
    count = min(count, len(golds))
    shares = [max(count * len(group) // len(golds), 1) for group in groups.values()]
    sizes = [len(group) for group in groups.values()]
    while sum(shares) < count:  # rounding down has left some
        shares[_least_served(sizes, shares)] += 1
    while sum(shares) > count:  # small groups took more than their share
        shares[shares.index(max(shares))] -= 1
    return sorted(
        group[k * len(group) // share]
        for group, share in zip(groups.values(), shares, strict=True)
        for k in range(share)
    )


def _least_served(sizes: Sequence[int], shares: Sequence[int]) -> int:
    """The group of which the smallest part is chosen."""
    return min(range(len(sizes)), key=lambda i: shares[i] / sizes[i])
