"""Posteriors, against all alignments of short sentences written out one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from attnlab.alignment.hmm import Emitted, Expected, Steps, expect


def problem(sources: int, outputs: int, seed: int) -> tuple[Emitted, Steps]:
    """Chances that are no distributions: nothing here needs them to sum to one."""
    drawn = np.random.default_rng(seed)
    step = drawn.random((1, sources + 1, sources + 1))
    step[:, :, 0] = 0
    emitted = Emitted(
        drawn.random((1, outputs, sources)), drawn.random((1, outputs)), np.array([outputs])
    )
    return emitted, Steps(step, drawn.random((1, sources + 1)))


def enumerated(emitted: Emitted, steps: Steps) -> Expected:
    """The same by summing over every way in which each word has a source word, or none (-1)."""
    words, none, step, end = emitted.words[0], emitted.none[0], steps.step[0], steps.end[0]
    outputs, sources = words.shape
    links, by_none = np.zeros((1, outputs, sources)), np.zeros((1, outputs))
    taken, ends, total = np.zeros_like(steps.step), np.zeros_like(steps.end), 0.0
    for way in itertools.product(range(-1, sources), repeat=outputs):
        state, chance, made = 0, 1.0, []
        for j, i in enumerate(way):
            if i < 0:
                chance *= none[j]
                continue
            chance *= step[state, i + 1] * words[j, i]
            made.append((state, i + 1))
            state = i + 1
        chance *= end[state]
        total += chance
        ends[0, state] += chance
        for before, after in made:
            taken[0, before, after] += chance
        for j, i in enumerate(way):
            if i < 0:
                by_none[0, j] += chance
            else:
                links[0, j, i] += chance
    parts = (part / total for part in (links, by_none, taken, ends))
    return Expected(*parts, log_likelihood=np.log([total]))


def assert_same(found: Expected, right: Expected) -> None:
    for name in ("links", "none", "steps", "ends", "log_likelihood"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 3), (3, 5), (4, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_alignments(shape: tuple[int, int], seed: int) -> None:
    emitted, steps = problem(*shape, seed)
    assert_same(expect(emitted, steps), enumerated(emitted, steps))


def test_padding_changes_nothing() -> None:
    shapes = [(2, 3), (4, 2), (3, 4)]
    problems = [problem(*shape, seed=5) for shape in shapes]
    words, none = np.zeros((3, 4, 4)), np.full((3, 4), 9.0)
    step, end = np.zeros((3, 5, 5)), np.zeros((3, 5))
    for b, ((i, j), (emitted, steps)) in enumerate(zip(shapes, problems, strict=True)):
        words[b, :j, :i], none[b, :j] = emitted.words[0], emitted.none[0]
        step[b, : i + 1, : i + 1], end[b, : i + 1] = steps.step[0], steps.end[0]
    together = expect(Emitted(words, none, np.array([j for _, j in shapes])), Steps(step, end))
    for b, ((i, j), alone) in enumerate(zip(shapes, problems, strict=True)):
        mine = Expected(
            together.links[b : b + 1, :j, :i],
            together.none[b : b + 1, :j],
            together.steps[b : b + 1, : i + 1, : i + 1],
            together.ends[b : b + 1, : i + 1],
            together.log_likelihood[b : b + 1],
        )
        assert_same(mine, expect(*alone))
        assert together.links[b, j:].sum() == together.links[b, :, i:].sum() == 0
        assert together.none[b, j:].sum() == 0


def test_every_word_comes_from_somewhere_in_long_sentences_too() -> None:
    """A thousand words in single precision: nothing underflows."""
    emitted, steps = problem(20, 1000, seed=0)
    single = Emitted(
        emitted.words.astype(np.float32) * np.float32(1e-6),
        emitted.none.astype(np.float32) * np.float32(1e-6),
        emitted.lengths,
    )
    found = expect(single, Steps(steps.step.astype(np.float32), steps.end.astype(np.float32)))
    np.testing.assert_allclose(found.links.sum(-1) + found.none, 1, atol=1e-4)
    assert np.isfinite(found.log_likelihood).all()
