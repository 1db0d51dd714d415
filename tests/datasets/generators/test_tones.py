"""Tones: what is heard in the marked frames is the key that was pressed, and elsewhere silence."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from attnlab.data.example import Example
from attnlab.datasets.generators.tones import COLUMN_TONES, KEYPAD, ROW_TONES
from attnlab.errors import UserError


def power(sound: np.ndarray, frequency: float, rate: int) -> float:
    """How much there is of a frequency, give or take the 1 % by which a tone may be off."""
    near = frequency * np.linspace(0.99, 1.01, 11)[:, None]
    turns = np.exp(-2j * np.pi * near * np.arange(len(sound)) / rate)
    return np.abs((sound * turns).sum(1)).max()


def key_heard(sound: np.ndarray, rate: int) -> str:
    row = np.argmax([power(sound, tone, rate) for tone in ROW_TONES])
    column = np.argmax([power(sound, tone, rate) for tone in COLUMN_TONES])
    return KEYPAD[row][column]


def marked_sound(example: Example, row: int) -> np.ndarray:
    frames = example.target.weights[row].nonzero()[0]
    assert (np.diff(frames) == 1).all()
    hop = example.meta["hop"]
    return example.inputs["audio"][frames[0] * hop : (frames[-1] + 1) * hop]


def test_the_marked_frames_say_the_key(generator):
    made = generator("tones", train=150, keys="0123456789ABCD*#", snr_db=10.0)
    heard, pressed = [], []
    for example in made.examples("train"):
        for row, key in enumerate(example.answer):
            pressed.append(key)
            heard.append(key_heard(marked_sound(example, row), example.meta["sample_rate"]))
    assert heard == pressed
    assert len(set(pressed)) == 16


def test_default_tones_can_be_told_apart(generator):
    made = generator("tones", train=150)
    pairs = [
        (key, key_heard(marked_sound(example, row), example.meta["sample_rate"]))
        for example in made.examples("train")
        for row, key in enumerate(example.answer)
    ]
    assert np.mean([key == heard for key, heard in pairs]) > 0.99


def test_silence_outside_of_the_marked_frames(generator):
    for example in generator("tones", train=50, snr_db=60.0).examples("train"):
        silent = np.repeat(~example.target.weights.any(axis=0), example.meta["hop"])
        assert np.abs(example.inputs["audio"][silent]).max() < 0.01


def test_times_fit_the_frames(generator):
    for example in generator("tones", train=50).examples("train"):
        rate, hop = example.meta["sample_rate"], example.meta["hop"]
        assert len(example.inputs["audio"]) == example.target.weights.shape[1] * hop
        assert example.inputs["audio"].dtype == np.float32
        for row, (start, end) in enumerate(example.meta["seconds"]):
            frames = example.target.weights[row].nonzero()[0]
            assert frames[0] == int(start * rate + 1e-6) // hop
            assert frames[-1] * hop < end * rate <= (frames[-1] + 1) * hop + 1e-6
            assert 0.0599 < end - start < 0.2001


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_noise_has_the_strength_asked_for(generator, snr_db):
    changes = {"train": 30, "min_tone_ms": 200, "max_tone_ms": 200}
    noisy = generator("tones", snr_db=snr_db, **changes).examples("train")
    clean = generator("tones", snr_db=200.0, **changes).examples("train")
    tone, noise = [], []
    for example, bare in zip(noisy, clean, strict=True):
        sound = bare.inputs["audio"]
        tone.append(sound[np.abs(sound) > 1e-6])
        noise.append(example.inputs["audio"] - sound)
    tone_power, noise_power = (np.concatenate(parts).var() for parts in (tone, noise))
    assert 10 * np.log10(tone_power / noise_power) == pytest.approx(snr_db, abs=0.5)


def test_numbers_of_keys(generator):
    made = generator("tones", train=200, min_keys=2, max_keys=5)
    assert {len(example.answer) for example in made.examples("train")} == {2, 3, 4, 5}


def test_a_split_without_any_number_is_named(generator):
    made = generator("tones", keys="1", min_keys=1, max_keys=1)
    with pytest.raises(UserError, match=r"leave no content for '(train|val|test)'"):
        for split in ("train", "val", "test"):
            list(made.examples(split))


def test_ranges_have_to_be_in_order(generator):
    with pytest.raises(ValidationError, match="min_gap_ms is above max_gap_ms"):
        generator("tones", min_gap_ms=500)
