"""Linear controls: they learn what a linear model can, from texts, pictures, sounds and tags."""

from __future__ import annotations

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.data.inputs import Picture, Sound, Text
from attnlab.data.vocabulary import Vocabulary
from attnlab.tasks import linear
from attnlab.tasks.linear import LinearClassifier, LinearRegressor, LinearTagger, NearestAnswer

NO_WORDS = Text(Vocabulary([]))


def test_a_pair_of_words_decides() -> None:
    texts = ["not good", "good", "not bad", "bad"] * 5
    examples = [Example(str(i), {"text": t.split()}, "") for i, t in enumerate(texts)]
    peer = LinearClassifier({"text": NO_WORDS}).fit(examples, [0, 1, 1, 0] * 5)
    assert peer.predict(examples[:4]) == [0, 1, 1, 0]


def test_words_add_up_to_numbers() -> None:
    texts = ["one two", "two two", "one", "two", "one one two"] * 20
    examples = [Example(str(i), {"text": t.split()}, "") for i, t in enumerate(texts)]
    numbers = [[2.0 * t.count("two"), -1.0] for t in texts]
    peer = LinearRegressor({"text": NO_WORDS}).fit(examples, numbers)
    found = np.array(peer.predict(examples[:5]))
    assert found == pytest.approx(np.array(numbers[:5]), abs=0.2)


def test_texts_of_characters_have_ngrams_of_characters() -> None:
    texts = ["abcx", "xbca", "bcax", "acbx"] * 5
    examples = [Example(str(i), {"text": list(t)}, "") for i, t in enumerate(texts)]
    peer = LinearClassifier({"text": NO_WORDS}).fit(examples, [1, 0, 0, 0] * 5)
    assert peer.predict([Example("", {"text": list("xxabc")}, "")]) == [1]


def test_a_missing_input_and_an_empty_text_are_labelled_too() -> None:
    texts = [["yes"], ["no"], None, []] * 5
    examples = [Example(str(i), {"text": t, "question": ["q"]}, "") for i, t in enumerate(texts)]
    inputs = {"text": NO_WORDS, "question": NO_WORDS}
    peer = LinearClassifier(inputs).fit(examples, [1, 0, 0, 0] * 5)
    assert peer.predict(examples[:4]) == [1, 0, 0, 0]


def test_pictures_are_few_numbers() -> None:
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, 40)
    pictures = [(random.random((3, 90, 120)) + b).astype(np.float32) / 2 for b in bright]
    examples = [Example(str(i), {"image": p}, "") for i, p in enumerate(pictures)]
    form = Picture(3, 90, 120)
    assert linear._numbers(pictures[0], form).size <= 3 * linear.MOST_PIXELS
    peer = LinearClassifier({"image": form}).fit(examples[:30], bright[:30].tolist())
    assert peer.predict(examples[30:]) == bright[30:].tolist()


def test_sounds_of_any_length_are_classified_by_their_bands() -> None:
    random = np.random.default_rng(0)
    high = random.integers(0, 2, 30)
    sounds = []
    for each in high:
        time = np.arange(int(random.integers(2000, 6000))) / 8000
        wave = np.sin(2 * np.pi * (2000 if each else 500) * time + random.random())
        sounds.append(wave.astype(np.float32))
    examples = [Example(str(i), {"audio": s}, "") for i, s in enumerate(sounds)]
    peer = LinearClassifier({"audio": Sound(8000, 80)}).fit(examples[:20], high[:20].tolist())
    assert peer.predict(examples[20:]) == high[20:].tolist()


def test_the_tag_before_and_the_suffixes_of_words_count() -> None:
    train = [
        ("to San Jose today", "O B-X I-X O"),
        ("from Lake Falls today", "O B-X I-X O"),
        ("to Berling today", "O B-X O"),
        ("to Wenting", "O B-X"),
        ("running today", "O O"),
    ]
    peer = LinearTagger().fit([(words.split(), tags.split()) for words, tags in train * 3])
    assert peer.predict(["from", "San", "Falls", "today"]) == ["O", "B-X", "I-X", "O"]
    assert peer.predict(["to", "Mailing", "today"]) == ["O", "B-X", "O"]
    assert peer.predict([]) == []


def test_a_sample_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(linear._sample(5, 10)) == [0, 1, 2, 3, 4]
    assert sorted(linear._sample(100, 10)) == sorted(linear._sample(100, 10))
    assert len(set(linear._sample(100, 10))) == 10


def test_the_answer_to_the_text_that_is_most_alike() -> None:
    texts = {"a red house": "ein rotes haus", "a blue car": "ein blaues auto", "the end": "ende"}
    known = [Example(t, {"text": t.split()}, a.split()) for t, a in texts.items()]
    peer = NearestAnswer("text").fit(known)
    asked = [Example("", {"text": t.split()}, []) for t in ("a red car house", "end", "")]
    assert peer.predict(asked)[:2] == [["ein", "rotes", "haus"], ["ende"]]
