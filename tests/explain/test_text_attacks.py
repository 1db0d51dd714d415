"""Changes of words by hand, and a greedy attack on a model that looks for one word."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attnlab.data.example import Example
from attnlab.data.vocabulary import SPECIAL, Vocabulary
from attnlab.explain.attacks import Outputs
from attnlab.explain.text_attacks import (
    Synonyms,
    TextAttacked,
    deletions,
    greedy,
    random_changes,
    synonyms,
    typos,
)
from tests.models.building import built, small_config, texts


def test_typos_keep_the_first_letter_and_characters_change_places() -> None:
    made = {words[1] for words in typos(["a", "film"], 1)}
    assert made == {"flm", "fiilm", "flim", "fim", "fillm", "fiml", "fil", "filmm"}
    assert list(typos(["a", "of"], 1)) == []
    assert list(typos(list("abb"), 0)) == [list("bab")]
    assert list(typos(list("abb"), 1)) == list(typos(list("abb"), 2)) == []


def test_a_text_is_never_left_empty() -> None:
    assert list(deletions(["one", "two"], 0)) == [["two"]]
    assert list(deletions(["one"], 0)) == []


def test_synonyms_are_near_enough_and_no_special_unit() -> None:
    vocabulary = Vocabulary([*SPECIAL, "good", "fine", "bad", "blue"])
    vectors = torch.zeros(len(vocabulary), 2)
    first = len(SPECIAL)
    vectors[first:] = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [0.0, 1.0]])
    near = Synonyms(vocabulary, vectors, count=3, least=0.5)
    assert list(near(["a", "good"], 1)) == [["a", "fine"]]
    assert list(near(["a", "unheard"], 1)) == []
    assert list(near(["<pad>"], 0)) == []


class Finder:
    """Says yes where a text has the word `key`; its loss grows with the words that are missing."""

    def outputs(self, texts: list[list[str]]) -> Outputs:
        self.asked = getattr(self, "asked", 0) + len(texts)
        said = ["yes" if "key" in words else "no" for words in texts]
        losses = [2.0 * ("key" not in w) + 0.5 * ("other" not in w) for w in texts]
        return Outputs(said, torch.tensor(losses), torch.ones(len(texts), 1, 1))


def on(words: str) -> Any:
    finder = Finder()
    example = Example("e", {"text": words.split()}, "yes")
    return SimpleNamespace(
        outputs=finder.outputs, words=words.split(), example=example, finder=finder
    )


def test_the_word_that_matters_most_is_changed_first() -> None:
    attacked = on("some other key here")
    assert greedy(attacked, deletions, most=2) == ["some", "other", "here"]
    changed = greedy(on("some other key here"), typos, most=1)
    assert changed[2] != "key" and changed[:2] == ["some", "other"]


def test_what_does_no_harm_is_left_as_it_is() -> None:
    assert greedy(on("some here"), deletions, most=2) == ["some", "here"]


def test_random_changes_are_as_many_and_the_same_each_time() -> None:
    words = ["some", "other", "key", "here", "now", "then"]
    first, again = (random_changes(on(" ".join(words)), deletions, 2) for _ in range(2))
    assert first == again and len(first) == 4


def test_variants_of_different_lengths_are_seen_together() -> None:
    config = small_config("task.max_length=4")
    model, _, codec = built(config, texts([3], [6]))
    task = config.task.build(codec)
    (example,) = texts([3], [6])
    attacked = TextAttacked(model, task, codec, example)
    words = attacked.words
    outputs = attacked.outputs([words, words[:4], words])
    assert outputs.maps.shape == (3, 4, 6) and len(outputs.texts) == 3
    assert float(outputs.losses[0]) == pytest.approx(float(outputs.losses[2]), abs=1e-5)
    near = synonyms(model, codec, count=2, least=-1.0)
    assert len(list(near(words, 0))) == 2
