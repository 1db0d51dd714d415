"""Single words joined to longer sounds: what is said, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.datasets.readers.sounds import ConnectedSource
from attnlab.errors import UserError
from tests.datasets.readers.files import shared
from tests.datasets.readers.media import LOUD, spoken
from tests.forms import load_fitting

RATE, HOP = 8000, 80
SIZES = "dataset.sounds={train: 30, val: 10, test: 10}"


def source(folder: Path, *overrides: str) -> ConnectedSource:
    spoken(folder)
    words = ["dataset=fsdd_connected", f"paths.data={folder}", "dataset.loudness=null", SIZES]
    return load_fitting([*words, "dataset.snr_db=[60, 60]", *overrides])[0].dataset.build()


def spans(example: Example) -> list[tuple[int, int]]:
    return [(round(a * RATE), round(b * RATE)) for a, b in example.meta["seconds"]]  # type: ignore[union-attr]


def test_each_word_is_heard_when_gold_says(tmp_path: Path) -> None:
    examples = list(source(tmp_path).examples("train"))
    assert len(examples) == 30
    assert {len(e.answer) for e in examples} == {2, 3, 4, 5, 6}  # type: ignore[arg-type]
    for example in examples:
        sound = np.asarray(example.inputs["audio"])
        assert len(sound) % HOP == 0
        heard = np.zeros(len(sound), bool)
        for word, row, (start, stop) in zip(
            example.answer,  # type: ignore[arg-type]
            example.target.weights,  # type: ignore[union-attr]
            spans(example),
            strict=True,
        ):
            assert sound[start:stop].mean() == pytest.approx(LOUD[word], abs=0.01)
            assert row.nonzero()[0].tolist() == list(range(start // HOP, -(-stop // HOP)))
            heard[start:stop] = True
        silent = sound[~heard]
        assert np.abs(silent).max() < 0.01
        gaps = np.diff([0, *(edge for span in spans(example) for edge in span), len(sound)])[::2]
        assert gaps.min() >= 0.02 * RATE and gaps[:-1].max() <= 0.3 * RATE


def test_quiet_ends_of_a_recording_are_no_part_of_the_word(tmp_path: Path) -> None:
    """Half a second at full strength between two that are 30 decibel weaker."""
    faint, loud = np.full(RATE // 2, 0.5 * 10**-1.5), np.full(RATE // 2, 0.5)
    word = np.concatenate([faint, loud, faint]).astype(np.float32)
    cut = source(tmp_path, "dataset.quiet_db=25")
    assert np.array_equal(cut._heard(word), loud.astype(np.float32))
    assert len(source(tmp_path, "dataset.quiet_db=35")._heard(word)) == len(word)
    assert len(source(tmp_path, "dataset.quiet_db=null")._heard(word)) == len(word)
    assert len(cut._heard(np.zeros(HOP * 3, np.float32))) == HOP * 3, "silence stays"


def test_noise_is_as_strong_as_asked_for(tmp_path: Path) -> None:
    made = source(tmp_path, "dataset.snr_db=[10, 10]")
    for example in list(made.examples("train"))[:5]:
        sound = np.asarray(example.inputs["audio"])
        heard = np.zeros(len(sound), bool)
        levels = []
        for word, (start, stop) in zip(example.answer, spans(example), strict=True):  # type: ignore[arg-type]
            heard[start:stop] = True
            levels += [LOUD[word]] * (stop - start)
        ratio = np.square(levels).mean() / np.square(sound[~heard]).mean()
        assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.5)


def test_splits_share_no_recording_and_are_the_same_every_time(tmp_path: Path) -> None:
    made = source(tmp_path)
    used = {
        split: {row for e in made.examples(split) for row in e.meta["rows"]}  # type: ignore[union-attr]
        for split in ("train", "val", "test")
    }
    assert not (used["train"] & used["val"] or used["train"] & used["test"])
    assert all("_ann_" in row and int(row.split("_")[-1].split(".")[0]) < 5 for row in used["test"])
    one, other = (next(iter(source(tmp_path).examples("test"))) for _ in range(2))
    np.testing.assert_array_equal(one.inputs["audio"], other.inputs["audio"])
    changed = next(iter(source(tmp_path, "dataset.seed=1").examples("test")))
    assert len(one.inputs["audio"]) != len(changed.inputs["audio"])  # type: ignore[arg-type]


def test_range_the_wrong_way_round(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        source(tmp_path, "dataset.words=[6, 2]")
    assert str(caught.value).splitlines()[0] == "dataset: words: 6 is above 2"


def test_official_split_of_the_real_recordings() -> None:
    data = shared("fsdd")
    made = load_fitting(["dataset=fsdd_connected", f"paths.data={data}", SIZES])[0].dataset.build()
    examples = list(made.examples("test"))
    files = [row.split()[0] for e in examples for row in e.meta["rows"]]  # type: ignore[union-attr]
    assert {file.rsplit("_", 1)[1] for file in files} == {f"{take}.wav" for take in range(5)}
    said = [digit for e in examples for digit in e.answer]  # type: ignore[union-attr]
    assert [file.rsplit("/", 1)[-1][0] for file in files] == said
