"""Checkpoints: whole or not at all, readable without running code, honest about their origin."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from attnlab.errors import RunError, UserError
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from attnlab.training.checkpoint import (
    FORMAT,
    AtomicCheckpointIO,
    BestCheckpoint,
    from_here,
    provenance,
    read_checkpoint,
)
from tests.runs import train_small

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


def test_a_checkpoint_says_nothing_of_the_machine(tmp_path: Path) -> None:
    """Neither of the folder of the command, which is another one, nor of the run's."""
    words = ["trainer.max_steps=2", "dataset.train=16", "stages=[train]"]
    train_small(tmp_path, *words, f"paths.run={tmp_path / 'run'}", f"paths.data={tmp_path}")
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content, path
        assert str(Path.cwd()).encode() not in content, path
        assert f".../{tmp_path.name}".encode() in content, "the name of the data's folder"


def test_paths_are_told_from_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    plain = {
        "data": str(tmp_path / "data"),
        "files": [
            str(tmp_path),
            str(tmp_path.parent),
            "data",
            "/no/such/file",
            "/",
            "/s",
            "/\0",
        ],
        "rate": 0.5,
    }
    assert from_here(plain) == {
        "data": "data",
        "files": [
            ".",
            f".../{tmp_path.parent.name}",
            "data",
            ".../file",
            "/",
            "/s",
            "/\0",
        ],
        "rate": 0.5,
    }


def test_a_run_whose_folder_was_moved_keeps_its_best(tmp_path: Path) -> None:
    """And an older one, whose checkpoints hold whole paths."""
    best = BestCheckpoint(tmp_path / "new", "val/loss", "min")
    older = ModelCheckpoint(tmp_path / "old", "best", monitor="val/loss", mode="min")
    assert best.state_key == older.state_key
    path, score = str(tmp_path / "old" / "best.ckpt"), torch.tensor(0.25)
    older.best_model_path, older.best_model_score = path, score
    older.best_k_models, older.kth_best_model_path = {path: score}, path
    best.load_state_dict(older.state_dict())
    here = str(tmp_path / "new" / "best.ckpt")
    assert (best.best_model_path, best.best_k_models) == (here, {here: score})
    assert best.best_model_score == score
    state = best.state_dict()
    assert str(tmp_path) not in str(state)
    again = BestCheckpoint(tmp_path / "newer", "val/loss", "min")
    again.load_state_dict(state)
    assert again.best_k_models == {str(tmp_path / "newer" / "best.ckpt"): score}


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


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and all(
            a == b and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    return one == other


def test_a_bit_that_changed_is_told_wherever_it_is(tmp_path: Path) -> None:
    """Each change is an error, or is in what holds no content (padding between records)."""
    path, chance, refused = tmp_path / "last.ckpt", random.Random(0), 0
    weights = {"w": torch.randn(64, 16), "b": torch.randn(16, dtype=torch.bfloat16)}
    content = {"state_dict": weights, "epoch": 3, FORMAT: {"config": {"seed": 0, "rate": 0.5}}}
    AtomicCheckpointIO().save_checkpoint(content, path)
    whole = path.read_bytes()
    for _ in range(400):
        place = chance.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert same(read_checkpoint(path), content), place
        except UserError as error:
            assert str(error).startswith(f"{path}: damaged, or no checkpoint at all (")
            refused += 1
    assert refused > 200


def test_a_checkpoint_without_checksum_is_read_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(GOOD, path)
    for _ in range(2):
        assert same(read_checkpoint(path), GOOD)
    line = f"{path}: has no checksum, as an older attnlab wrote it; its archive is whole\n"
    assert capsys.readouterr().err == line
    content = bytearray(path.read_bytes())
    content[content.index(b"\x80\x3f")] ^= 1  # of the number one
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged, or no checkpoint at all"):
        read_checkpoint(path)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    exploding = ["trainer.optimizer.lr=1e300", "trainer.max_steps=1", "trainer.clip_norm=null"]
    with pytest.raises(RunError) as caught:
        train_small(tmp_path, *exploding, f"paths.run={tmp_path / 'run'}", "dataset.train=16")
    text = str(caught.value)
    assert text.startswith("the weights are NaN or infinite after step 1 (model.")
    assert text.endswith("\n  try: a lower trainer.optimizer.lr, or trainer.clip_norm=1.0")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_weights_that_are_no_numbers_are_not_loaded(tmp_path: Path) -> None:
    words = ["trainer.max_steps=1", "dataset.train=16", "stages=[train]"]
    train_small(tmp_path, *words, f"paths.run={tmp_path / 'run'}")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = read_checkpoint(path)
    name = next(iter(content["state_dict"]))
    content["state_dict"][name].view(-1)[0] = torch.nan
    path.with_name("best.ckpt").unlink()
    AtomicCheckpointIO().save_checkpoint(content, path)
    with pytest.raises(UserError) as caught:
        _ = TrainedRun(open_run(tmp_path / "run")).learner
    assert str(caught.value).startswith(f"{path}: its weights are NaN or infinite ({name})")
    again = [*words, f"paths.run={tmp_path / 'run'}", "resume=auto"]
    with pytest.raises(UserError, match="its weights are NaN or infinite"):
        train_small(tmp_path, *again)
