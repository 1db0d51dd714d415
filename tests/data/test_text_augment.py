"""Changes of words: what each does, gold that goes with them, and the same draw again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from attnlab.config.compose import load
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.loader import VariedItems
from attnlab.data.target import AttentionTarget
from attnlab.data.text_augment import (
    DropWords,
    InsertWords,
    MaskWords,
    SwapWords,
    Synonyms,
    TextAugmenter,
    TextStep,
    Typos,
    misspelt,
)
from attnlab.errors import UserError
from tests.forms import fitted
from tests.runs import SHORT, figures, ran

WORDS = [f"w{i}" for i in range(12)]
MARKED = 3  # the word that gold marks


def example(words: Sequence[str] = WORDS) -> Example:
    marks = np.zeros((1, len(words)), np.float32)
    marks[0, MARKED] = 1
    target = AttentionTarget(marks, np.ones(1, bool), np.ones(len(words), bool))
    return Example("train-0", {"text": list(words)}, "yes", target)


def codec() -> Codec:
    return fitted([example(), replace(example(), answer="no")])


def augmenter(step: TextStep, of: Codec | None = None) -> TextAugmenter:
    made = TextAugmenter({}, of or codec())
    step.fit(of or codec(), "step")
    made.steps = [step]
    return made


def test_dropped_words_take_their_marks_with_them() -> None:
    change, lengths = augmenter(DropWords(chance=0.5)), []
    for seed in range(200):
        made = change(example(), Random(seed))
        words = made.inputs["text"]
        assert isinstance(words, list)
        assert words == [word for word in WORDS if word in words], "in their order"
        assert made.target is not None
        marked = [w for w, mark in zip(words, made.target.weights[0], strict=True) if mark]
        assert marked == [w for w in words if w == WORDS[MARKED]]
        lengths.append(len(words))
    assert min(lengths) >= 1
    assert 5 < np.mean(lengths) < 7
    one = augmenter(DropWords(chance=0.999))(example(), Random(0))
    assert len(one.inputs["text"]) == 1  # type: ignore[arg-type]


def test_swapped_words_are_the_same_words_and_gold_follows() -> None:
    made = augmenter(SwapWords(share=0.5))(example(), Random(1))
    words = made.inputs["text"]
    assert isinstance(words, list)
    assert sorted(words) == sorted(WORDS)
    assert words != WORDS
    assert made.target is not None
    assert made.target.weights[0].tolist() == [float(w == WORDS[MARKED]) for w in words]


def test_masked_stretches_are_one_mark_each_and_gold_stays_at_their_first_word() -> None:
    change, shares, marks = augmenter(MaskWords(share=0.3, span=2)), [], []
    for seed in range(300):
        made = change(example(), Random(seed))
        words = made.inputs["text"]
        assert isinstance(words, list) and made.target is not None
        left = [word for word in words if word != "<unk>"]
        assert left == [word for word in WORDS if word in left], "in their order"
        shares.append(1 - len(left) / len(WORDS))
        marks.append(words.count("<unk>"))
        assert made.target.weights.shape == (1, len(words))
        if WORDS[MARKED] in left:
            (place,) = made.target.weights[0].nonzero()[0].tolist()
            assert words[place] == WORDS[MARKED]
    assert 0.24 < np.mean(shares) < 0.36
    assert 1.4 < np.sum(shares) * len(WORDS) / np.sum(marks) < 2.2
    masked = replace(example(), inputs={"text": [*WORDS, "[MASK]"]})
    of = fitted([masked, replace(masked, answer="no")])
    words = augmenter(MaskWords(share=0.9, span=1), of)(example(), Random(0)).inputs["text"]
    assert "[MASK]" in words and "<unk>" not in words  # type: ignore[operator]


def test_typos_keep_places_and_marks_and_the_first_letter() -> None:
    long = ["wonderful", "of", *WORDS[2:]]
    made = augmenter(Typos(share=0.5))(example(long), Random(0))
    words = made.inputs["text"]
    assert isinstance(words, list)
    changed = [(old, new) for old, new in zip(long, words, strict=True) if old != new]
    assert 0 < len(changed) <= 6
    assert all(new in misspelt(old) and new[0] == old[0] for old, new in changed)
    assert made.target is not None
    assert made.target.weights[0].tolist() == [float(i == MARKED) for i in range(len(long))]
    assert misspelt("of") == []
    assert sorted(misspelt("cat")) == sorted(["ct", "caat", "cta", "ca", "catt"])


def pairs() -> Codec:
    """Each word has one neighbour: w0 and w1, w2 and w3, ..."""
    of = codec()
    vocabulary = of.texts["text"]
    vectors = np.zeros((len(vocabulary), len(vocabulary)), np.float32)
    for number, unit in enumerate(vocabulary.units):
        if unit in WORDS:
            vectors[number, WORDS.index(unit) // 2] = 1
    vocabulary.vectors = vectors
    return of


def test_synonyms_are_neighbours_and_keep_the_marks() -> None:
    made = augmenter(Synonyms(share=0.5, least=0.9), pairs())(example(), Random(0))
    words = made.inputs["text"]
    assert isinstance(words, list)
    moved = [i for i, (old, new) in enumerate(zip(WORDS, words, strict=True)) if old != new]
    assert len(moved) == 6
    assert all(words[i] == WORDS[i ^ 1] for i in moved)
    assert made.target is not None
    assert made.target.weights[0, MARKED] == 1


def test_inserted_words_are_neighbours_without_marks() -> None:
    made = augmenter(InsertWords(share=0.5, least=0.9), pairs())(example(), Random(0))
    words = made.inputs["text"]
    assert isinstance(words, list)
    assert len(words) == 18
    assert made.target is not None
    assert made.target.key_mask.all()
    assert made.target.weights.sum() == 1
    assert words[int(made.target.weights[0].argmax())] == WORDS[MARKED]


def test_words_without_vectors_have_no_neighbours() -> None:
    with pytest.raises(UserError, match=r"dataset\.augment\.near: words have no vectors; try"):
        Synonyms(share=0.1, least=0.5).fit(codec(), "near")


def test_what_is_drawn_depends_on_seed_epoch_and_place() -> None:
    of, change = codec(), augmenter(DropWords(chance=0.5))

    def texts(seed: int, epoch: int) -> list[list[int]]:
        items = VariedItems([example()] * 4, of, seed, change)
        items.begin(epoch)
        given = [items[i].inputs["text"].tolist() for i in (2, 0, 3, 1)]
        expected = [of.encode(items.example(i), i).inputs["text"].tolist() for i in (2, 0, 3, 1)]
        assert given == expected
        return given

    assert texts(0, 1) == texts(0, 1)
    assert texts(0, 1) != texts(0, 2)
    assert texts(0, 1) != texts(1, 1)
    assert len({tuple(text) for text in texts(0, 1)}) > 1


def test_a_training_sees_other_words_each_time(tmp_path: Path) -> None:
    words = ["experiment=reviews", "dataset.train=64", "dataset.val=8", "dataset.test=8"]
    words += [*SHORT, "model.dim=16", "trainer.batches.size=8"]
    words += ["+dataset.augment.less={kind: drop_words, chance: 0.2}"]
    words += ["+dataset.augment.mixed={kind: swap_words, share: 0.1}"]
    assert "accuracy" in figures(ran(tmp_path, *words))["answer"]


def test_words_that_are_answered_one_by_one_stay_where_they_are() -> None:
    config, _ = load(
        ["+dataset.augment.less={kind: drop_words, chance: 0.2}", "experiment=reviews"]
    )
    tagged = replace(codec(), layout=replace(codec().layout, rows="input"))
    with pytest.raises(UserError, match=r"augment\.less: 'drop_words' would move words away"):
        TextAugmenter(config.dataset.augment, tagged)
