"""Checkpoints: whole or not at all, readable without running code, honest about their origin."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from attnlab.errors import RunError, UserError
from attnlab.training.checkpoint import FORMAT, AtomicCheckpointIO, provenance, read_checkpoint

GOOD = {"state_dict": {"w": torch.ones(3)}, FORMAT: {"config": {"seed": 0}}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.ones(3))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"], "no draft is left"


def test_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    (tmp_path / ".last.ckpt.part").symlink_to("/dev/full")  # every write to it finds no room
    with pytest.raises(RunError) as caught:
        AtomicCheckpointIO().save_checkpoint(GOOD, path)
    text = (
        f"{path}: cannot write the checkpoint: the disk is full; the last good one is kept: {path}"
    )
    assert str(caught.value) == f"{text}; then: resume=auto"
    assert read_checkpoint(path)[FORMAT] == GOOD[FORMAT]


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: no such checkpoint; try: ls {tmp_path}"


@pytest.mark.parametrize("keep", [0, 100, 600])
def test_damaged_file(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: damaged, or no checkpoint at all (")
    assert len(str(caught.value).splitlines()) == 1


def test_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"model": torch.ones(1)}, path)
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: a checkpoint of another program, not of attnlab"


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="damaged, or no checkpoint at all"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_provenance_says_where_it_comes_from() -> None:
    about = provenance({"seed": 1}, "0123abcd")
    assert about["config"] == {"seed": 1}
    assert about["data_digest"] == "0123abcd"
    assert about["versions"]["torch"] == str(torch.__version__)
    assert about["versions"].keys() == {"attnlab", "python", "torch", "lightning", "numpy"}


def test_parameters_of_an_older_checkpoint_have_the_names_of_today(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    weights = {"model.reader.fronts.0.weight": torch.ones(2)}
    AtomicCheckpointIO().save_checkpoint(
        {"state_dict": weights, "current_model_state": dict(weights), FORMAT: {}}, path
    )
    content = read_checkpoint(path)
    for state in ("state_dict", "current_model_state"):
        assert list(content[state]) == ["model.reader.embedders.0.weight"]
