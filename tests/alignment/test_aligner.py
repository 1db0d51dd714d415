"""Reading links off two maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnlab.alignment.aligner import FILE, Aligner, Maps, load, save
from attnlab.alignment.config import Symmetrised
from attnlab.alignment.learning import Round, learn
from attnlab.errors import UserError
from tests.alignment.pairs import settings, translated

MAPS = Maps(
    forward=np.array([[0.9, 0.2, 0.0], [0.0, 0.7, 0.9]]),
    backward=np.array([[0.9, 0.1, 0.0], [0.0, 0.4, 0.6]]),
)


@pytest.mark.parametrize(
    ("how", "links"),
    [
        ("intersection", {(0, 0), (1, 2)}),
        ("union", {(0, 0), (1, 1), (1, 2)}),
        ("grow-diag", {(0, 0), (1, 1), (1, 2)}),
        ("grow-diag-final-and", {(0, 0), (1, 1), (1, 2)}),
        ("agreement", {(0, 0), (1, 1), (1, 2)}),  # the root of 0.7 x 0.4 is 0.53
    ],
)
def test_each_way(how: Symmetrised, links: set[tuple[int, int]]) -> None:
    assert MAPS.links(how, 0.5) == links


def test_the_threshold_moves_agreement_alone() -> None:
    assert MAPS.links("agreement", 0.6) == {(0, 0), (1, 2)}
    assert MAPS.directed() == ({(0, 0), (1, 1), (1, 2)}, {(0, 0), (1, 2)})
    for how in ("intersection", "union", "grow-diag", "grow-diag-final-and"):
        assert MAPS.links(how, 0.8) == MAPS.links(how, 0.5)


def test_an_empty_sentence_has_no_links() -> None:
    assert Maps.nothing(0, 3).links("agreement", 0.5) == frozenset()


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


PARTS = ("pairs", "none", "totals", "jumps", "classes")


@pytest.mark.parametrize(
    "name",
    [
        "pairs",
        "source_words",
        "target_words",
        *(f"{d}_{p}" for d in ("forward", "backward") for p in PARTS),
    ],
)
@pytest.mark.parametrize("change", ["cut", "twice", "nan"])
def test_an_array_that_does_not_fit_the_others(
    name: str, change: str, aligner: Aligner, tmp_path: Path
) -> None:
    path = save(aligner, tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    array = arrays[name]
    if change == "cut":
        text = name.endswith("words")
        arrays[name] = array[: array.tobytes().rindex(b"\n")] if text else array[:-1]
    elif change == "twice":
        arrays[name] = np.concatenate([array, array])
    elif array.dtype.kind == "f":
        arrays[name] = np.where(np.arange(array.size).reshape(array.shape) == 3, np.nan, array)
    else:
        return
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(UserError, match="is damaged or of another version"):
        load(tmp_path)


def test_an_array_that_is_missing(aligner: Aligner, tmp_path: Path) -> None:
    path = save(aligner, tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "pairs"}
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(UserError, match="is damaged or of another version"):
        load(tmp_path)
