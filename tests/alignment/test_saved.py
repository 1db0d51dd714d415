"""An aligner that was kept aligns as it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnlab.alignment.aligner import Aligner
from attnlab.alignment.learning import Round, learn
from attnlab.alignment.saved import FILE, load, save
from attnlab.errors import UserError
from tests.alignment.pairs import settings, translated


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    said: list[Round] = []
    sources, targets, _ = translated(60)
    sources[0].append("bad\udcff")  # a byte that is no UTF-8, as files are read
    return learn(sources, targets, settings(jump_words=20), said.append)


def test_the_same_maps_to_the_last_bit(aligner: Aligner, tmp_path: Path) -> None:
    save(aligner, tmp_path / "kept")
    again = load(tmp_path / "kept")
    assert again.settings == aligner.settings
    assert again.words[0].words == aligner.words[0].words
    sources, targets, _ = translated(20, seed=2)
    sources.append(["n1", "new"])
    targets.append(["new", "101n"])
    before, after = dict(aligner.maps(sources, targets)), dict(again.maps(sources, targets))
    assert len(before) == 21
    for row, maps in before.items():
        np.testing.assert_array_equal(maps.forward, after[row].forward)
        np.testing.assert_array_equal(maps.backward, after[row].backward)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    said = f"--model: no {FILE} in {tmp_path}; `attnlab align` writes one to --out"
    assert str(caught.value) == said


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=rf"--model: .*{FILE} is damaged or of another version"):
        load(tmp_path)


def test_an_array_that_is_missing(aligner: Aligner, tmp_path: Path) -> None:
    path = save(aligner, tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "pairs"}
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(UserError, match="is damaged or of another version"):
        load(tmp_path)
