"""Recordings of any width, rate and number of channels, and labels from their names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from attnlab.data.example import Example
from attnlab.errors import UserError
from tests.datasets.readers.files import shared
from tests.datasets.readers.media import dataset, wav, zipped
from tests.forms import load_fitting

SOUND = 0.5 * np.sin(2 * np.pi * 200 * np.arange(800) / 8000)
ANY_END = ["dataset.reader.pattern='{label}/{id}.{kind}'"]
AS_IT_IS = ["dataset.sample_rate=8000", "dataset.loudness=null", "dataset.bad_rows=0.9"]


def read(given: object, split: str = "train") -> list[Example]:
    return list(given.build().examples(split))  # type: ignore[attr-defined]


def splits(where: str) -> str:
    return f"dataset.splits={{train: '{where}', val: '{where}', test: '{where}'}}"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_any_width_are_the_same_sound(width: int, tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"one/x.wav": wav(SOUND, 8000, width)})
    (example,) = read(dataset("sounds", tmp_path, splits("a.zip/*/*.wav"), *AS_IT_IS))
    assert example.answer == "one"
    assert example.meta["sample_rate"] == 8000 and example.meta["hop"] == 160
    np.testing.assert_allclose(example.inputs["audio"], SOUND, atol=2 ** (2 - 8 * width) + 1e-6)


def test_channels_are_averaged_rates_made_equal_and_loudness_too(tmp_path: Path) -> None:
    both = np.stack([SOUND, 0 * SOUND], 1).ravel()
    zipped(tmp_path / "a.zip", {"one/x.wav": wav(both, 8000, channels=2)})
    words = ["dataset.sample_rate=16000", "dataset.loudness=0.1", "dataset.longest=0.05"]
    (example,) = read(dataset("sounds", tmp_path, splits("a.zip/*/*.wav"), *words))
    samples = np.asarray(example.inputs["audio"])
    assert len(samples) == 800
    assert np.sqrt(np.square(samples).mean()) == pytest.approx(0.1, rel=1e-3)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() == pytest.approx(200 / 16000 * 800, abs=0.6)


def test_names_become_columns_and_patterns_choose_files(tmp_path: Path) -> None:
    names = [f"{d}_{who}_{i}.wav" for d in "01" for who in ("ann", "bob") for i in (0, 4, 5, 14)]
    zipped(tmp_path / "a.zip", {name: wav(SOUND, 8000) for name in [*names, "odd.wav"]})
    words = ["dataset.reader.pattern='{digit}_{who}_{take}.wav'", "dataset.answer.column=who"]
    where = (
        "dataset.splits={train: 'a.zip/*_{[5-9],[1-4][0-9]}.wav', val: 'a.zip/*.wav', "
        "test: 'a.zip/*_[0-4].wav'}"
    )
    source = dataset("sounds", tmp_path, where, *words, *AS_IT_IS).build()
    found = {split: list(source.examples(split)) for split in ("train", "val", "test")}
    assert {split: len(each) for split, each in found.items()} == {"train": 8, "val": 16, "test": 8}
    assert {e.answer for e in found["test"]} == {"ann", "bob"}
    assert source.notes()["val"] == (
        "1 of 17 rows cannot be used (odd.wav row 17: its name is not like "
        "'{digit}_{who}_{take}.wav')"
    )
    with pytest.raises(UserError, match=r"^dataset.splits.train: no file in .*a.zip fits '\*.mp3'"):
        read(dataset("sounds", tmp_path, splits("a.zip/*.mp3")))


def test_what_is_no_sound_spoils_its_row_alone(tmp_path: Path) -> None:
    files = {"one/a.wav": wav(SOUND, 8000), "one/b.wav": b"no sound", "two/c.wav": b""}
    zipped(tmp_path / "a.zip", files)
    source = dataset("sounds", tmp_path, splits("a.zip/*/*.wav"), *AS_IT_IS).build()
    assert len(list(source.examples("train"))) == 1
    note = source.notes()["train"]
    assert note.startswith("2 of 3 rows cannot be used (one/b.wav row 2: 'one/b.wav' is no ")


@pytest.mark.parametrize(("kind", "lost"), [("FLAC", 2**-14), ("OGG", 0.05)])
def test_packed_sounds_are_read_like_plain_ones(kind: str, lost: float, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    packed = io.BytesIO()
    soundfile.write(packed, np.stack([SOUND, SOUND], 1), 8000, format=kind)
    zipped(tmp_path / "a.zip", {"one/x.snd": packed.getvalue()})
    (example,) = read(dataset("sounds", tmp_path, splits("a.zip/*/*.snd"), *ANY_END, *AS_IT_IS))
    np.testing.assert_allclose(example.inputs["audio"], SOUND, atol=lost)


def test_packed_sound_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    zipped(tmp_path / "a.zip", {"one/a.wav": wav(SOUND, 8000), "one/b.flac": b"fLaC" + bytes(40)})
    source = dataset("sounds", tmp_path, splits("a.zip/*/*"), *ANY_END, *AS_IT_IS).build()
    assert len(list(source.examples("train"))) == 1
    assert source.notes()["train"] == (
        "1 of 2 rows cannot be used (one/b.flac row 2: 'one/b.flac' is no WAV (file does not start "
        "with RIFF id); formats other than WAV need soundfile: pip install 'attnlab[sound]')"
    )
    zipped(tmp_path / "a.zip", {"one/a.wav": wav(SOUND, 8000), "one/b.wav": b"RI"})
    source = dataset("sounds", tmp_path, splits("a.zip/*/*"), *ANY_END, *AS_IT_IS).build()
    assert len(list(source.examples("train"))) == 1
    assert "'one/b.wav' is no WAV (cut short); " in source.notes()["train"]


def test_real_recordings_are_split_by_their_numbers() -> None:
    given = load_fitting(["experiment=fsdd", f"paths.data={shared('fsdd')}"])[0].dataset
    source = given.build()
    test = list(source.examples("test"))
    assert len(test) == 200
    assert {e.answer for e in test} == set("0123456789")
    assert sum(1 for split in ("train", "val") for _ in source.examples(split)) == 1800
