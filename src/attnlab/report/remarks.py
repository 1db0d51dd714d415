"""Lines below the table of a run: what each figure means, and a simple model that is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attnlab.metrics.figures import Figure

PEERS = {
    "linear": "a linear model",
    "nearest": "the answer to the training text that is most alike",
    "item_neighbours": "items that the same people chose (item-kNN)",
    "markov": "what most often came after the last item",
    "popularity": "what most people chose",
}


def explanations(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each figure of answers and maps: what it means, and the best that a map reaches.

    A figure of links may have a ceiling: where a row is linked to one key and gold marks several,
    no map finds them all.
    """
    oracle = figures["controls"].get("oracle", {})
    for group, name, value in figures_of(figures, "answer", "attention", "blocks", "calibration"):
        about = figures["about"].get(name)
        if value is None or about is None:
            continue
        fact = Figure(name, **about)
        line = f"{name}: {fact.sentence()}"
        best = oracle.get(name) if group == "attention" else None
        if best is not None and fact.falls_short(best):
            beyond = "above" if fact.higher_is_better else "below"
            line += f"; here no map scores {beyond} {best:.4f}"
        yield line


def lost_to_peer(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for the headline figure where a simple model has a better one; the best of them."""
    known = {peer: of for peer, of in figures["answer_controls"].items() if of and peer in PEERS}
    if not known:
        return
    name = next(iter(next(iter(known.values()))))
    own, higher = figures["answer"][name], better(name, figures) == "higher"
    best = (max if higher else min)(known, key=lambda peer: known[peer][name])
    value = known[best][name]
    if value > own if higher else value < own:
        yield (
            f"{name} {own:.4f} is behind {PEERS[best]} ({value:.4f}), which learns from the "
            "same examples in seconds: train longer, or a wider model, or with more dropout"
        )


def figures_of(figures: Mapping[str, Any], *groups: str) -> Iterator[tuple[str, str, float | None]]:
    """Group, name and value of every figure of some groups; a run may lack one."""
    for group in groups:
        for name, value in figures.get(group, {}).items():
            yield group, name, value


def better(name: str, figures: Mapping[str, Any]) -> str:
    higher = figures["about"].get(name, {}).get("higher_is_better")
    return "" if higher is None else "higher" if higher else "lower"
