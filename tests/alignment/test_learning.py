"""Learning: each round makes the text likelier, and known alignments are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attnlab.alignment.aligner import Aligner
from attnlab.alignment.bitext import Tally
from attnlab.alignment.learning import Learner, Round, learn
from attnlab.alignment.lexicon import most_likely
from attnlab.datasets.targets import Links
from tests.alignment.pairs import Sentences, error_rate, settings, translated

PLAIN = {"smoothing": 1e-9, "spelling": 0, "stem_weight": 0, "jump_weight": 0}


def learned(count: int, **changes: object) -> tuple[Aligner, list[Round]]:
    rounds: list[Round] = []
    sources, targets, _ = translated(count)
    return learn(sources, targets, settings(**changes), rounds.append), rounds


def links(aligner: Aligner, sources: Sentences, targets: Sentences) -> list[Links]:
    maps = dict(aligner.maps(sources, targets))
    in_order = [maps[i] for i in range(len(sources))]
    how, _ = aligner.symmetrisation(in_order)
    return [each.links(how, aligner.settings.threshold) for each in in_order]


def test_a_round_without_order_makes_the_text_likelier() -> None:
    _, rounds = learned(200, ibm_rounds=8, hmm_rounds=1, **PLAIN)
    for side in (0, 1):
        course = np.log([r.perplexities[side] for r in rounds if r.name == "IBM 1"])
        assert len(course) == 8
        assert (np.diff(course) < 1e-6).all()
        assert course[-1] < course[0] - 1


def test_a_round_of_one_hidden_markov_model_makes_the_text_likelier() -> None:
    """Counting what the model itself expects is EM; agreement counts something else."""
    sources, targets, _ = translated(200)
    learner = Learner(sources, targets, settings(**PLAIN))
    learner.without_order()
    (direction, _), (beliefs, _) = learner.directions, learner.beliefs
    course = []
    for _ in range(8):
        counts, none = Tally(len(learner.pairs) + 1), Tally(len(learner.text.words[1]))
        jumps, likelihood = np.zeros(direction.jumps.table.shape), 0.0
        for group in learner.groups:
            found = direction.expect(group)
            counts.add(group.cells, found.links.transpose(0, 2, 1))
            none.add(group.target, found.none)
            jumps += direction.jumps.count(group, found)
            likelihood += found.log_likelihood.sum(dtype=np.float64)
        lexicon = beliefs.lexicon(counts.total()[:-1], none.total(), most_likely)
        direction = replace(direction, lexicon=lexicon, jumps=direction.jumps.counted(jumps, 0))
        course.append(likelihood)
    assert (np.diff(course) > -1e-6 * abs(course[0])).all()
    assert course[-1] > course[0] + 100


def test_the_right_links_are_found() -> None:
    """Words that never move together are told apart, and the article is linked to nothing."""
    aligner, _ = learned(400)
    sources, targets, right = translated(100, seed=1)
    found = links(aligner, sources, targets)
    assert error_rate(found, right) < 0.02
    diagonal = [frozenset((i, i) for i in range(len(s))) for s in sources]
    assert error_rate(diagonal, right) > 0.5


def test_order_tells_what_words_alone_cannot() -> None:
    """One and the same word twice: only what stands before says which is which."""
    aligner, _ = learned(400)
    (found,) = links(
        aligner, [["a1", "n1", "a2", "n1"]], [["le", "101n", "101a", "le", "101n", "102a"]]
    )
    assert found == {(0, 2), (1, 1), (2, 5), (3, 4)}


def test_new_words_are_aligned_by_spelling_and_place() -> None:
    aligner, _ = learned(400)
    source = ["a1", "Quebec", "a2", "1997"]
    target = ["le", "quebec", "101a", "le", "1997", "102a"]
    assert links(aligner, [source], [target]) == [{(0, 2), (1, 1), (2, 5), (3, 4)}]


def test_pairs_with_an_empty_side_are_left_out() -> None:
    sources, targets, _ = translated(50)
    said: list[Round] = []
    aligner = learn([*sources, [], ["a1"]], [*targets, ["le"], []], settings(), said.append)
    assert {row for row, _ in aligner.maps([[], ["a1"], ["n1"]], [["le"], [], ["101n"]])} == {2}


@pytest.mark.parametrize("pair", [(["a"], ["b"]), (["a"] * 30, ["b"])])
def test_one_pair_is_enough_to_learn_from(pair: tuple[list[str], list[str]]) -> None:
    said: list[Round] = []
    aligner = learn([pair[0]], [pair[1]], settings(), said.append)
    ((_, maps),) = aligner.maps([pair[0]], [pair[1]])
    assert np.isfinite(maps.forward).all()
    assert maps.forward.shape == (len(pair[0]), 1)


def test_a_round_says_how_it_went() -> None:
    said = str(Round("HMM", 2, 5, (12.34, 9.87), 3.21))
    assert said == "HMM round 2 of 5: perplexity 12.3 forward, 9.9 backward, 3.2 s"


def test_sums_do_not_depend_on_how_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.arange(60, dtype=np.int32).reshape(3, 20) % 7
    for at_once in (1, 25, 1000):
        monkeypatch.setattr("attnlab.alignment.bitext.ADDED_AT_ONCE", at_once)
        tally = Tally(7)
        for row in numbers:
            tally.add(row, np.ones(20))
        assert tally.total().tolist() == [9, 9, 9, 9, 8, 8, 8]
