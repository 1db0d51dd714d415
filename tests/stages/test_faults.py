"""What goes wrong in a run ends with one clear line, the right exit code, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ValidationError

from attnlab.config import compose
from attnlab.config.section import SLOTS, Section, Variant, load_kinds
from attnlab.errors import RunError, UserError
from attnlab.stages.run import fingerprint, open_run
from attnlab.stages.run_start import FOLDER_VARIABLE, start
from tests.commands import run, small, small_run
from tests.runs import train_small


def status(folder: Path) -> dict[str, object]:
    return json.loads((folder / "status.json").read_text())


def test_loss_that_is_no_number(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exploding = ["trainer.optimizer.lr=1e30", "trainer.clip_norm=null"]
    done = run(small_run(tmp_path, *exploding, f"paths.run={folder}"))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-2:]
    assert last[0].startswith("attnlab: the loss is nan at step ")
    assert last[0].endswith(f"; the batch is in {folder}/failed_batch.pt")
    assert last[1] == "  try: a lower trainer.optimizer.lr, or trainer.clip_norm=1.0"
    assert status(folder)["state"] == "failed"
    kept = torch.load(folder / "failed_batch.pt", weights_only=True)
    assert kept["inputs"]["text"].shape[0] == 16


def test_memory_that_does_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def demand(self: object, batch: object) -> torch.Tensor:
        return torch.empty(10**15)  # more than any machine has

    monkeypatch.setattr("attnlab.tasks.generate.head.Generator.forward", demand)
    with pytest.raises(RunError) as caught:
        train_small(tmp_path, f"paths.run={tmp_path / 'run'}")
    kept = tmp_path / "run" / "failed_batch.pt"
    assert str(caught.value).splitlines()[0] == f"out of memory; the batch is in {kept}"
    assert "half of trainer.batches.size with trainer.accumulate=2" in str(caught.value)
    assert kept.is_file()
    assert status(tmp_path / "run")["state"] == "failed"


@pytest.mark.parametrize("key", ["paths.runs", "paths.prepared"])
def test_folder_that_cannot_be_written(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        train_small(tmp_path, f"{key}=/dev/null/nowhere")
    assert str(caught.value).startswith(f"{key}: cannot write to /dev/null/nowhere")


def test_run_folder_that_is_taken(tmp_path: Path) -> None:
    config, plain = compose.load(small(tmp_path, f"paths.run={tmp_path / 'run'}"))
    start(config, plain, [])
    with pytest.raises(UserError) as caught:
        start(config, plain, [])
    folder = tmp_path / "run"
    line = f"paths.run: {folder} holds a run already; try: resume=auto, or another folder"
    assert str(caught.value) == line


@pytest.mark.parametrize("again", ["paths.run={}", "resume={}"])
def test_a_run_that_failed_before_it_trained_makes_room_for_its_correction(
    again: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    failed, plain = compose.load(small(tmp_path, f"paths.run={folder}", "model.dim=8"))
    with pytest.raises(RunError), start(failed, plain, []).tracked():
        raise RunError("the vectors have another width")
    (folder / "history").mkdir()
    (folder / "history" / "train.csv").write_text("of the run that failed")
    mended, plain = compose.load(small(tmp_path, again.format(folder)))
    assert start(mended, plain, []).folder == folder
    assert open_run(folder).config.model == mended.model
    assert status(folder)["state"] == "running"
    assert "message" not in status(folder)
    assert not (folder / "history").exists()


def test_a_run_that_failed_after_it_trained_keeps_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config, plain = compose.load(small(tmp_path, f"paths.run={folder}"))
    with pytest.raises(RunError), start(config, plain, []).tracked():
        (folder / "checkpoints" / "last.ckpt").touch()
        raise RunError("the disk is full")
    with pytest.raises(UserError, match="holds a run already"):
        start(config, plain, [])
    assert status(folder)["state"] == "failed"


def test_the_other_processes_follow_the_first_whatever_it_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, plain = compose.load(small(tmp_path, f"paths.run={tmp_path / 'run'}"))
    start(config, plain, [])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv(FOLDER_VARIABLE)
    run = start(config, plain, [])
    assert run.folder == tmp_path / "run"
    with run.tracked():
        run.set_status("failed")
    assert status(run.folder)["state"] == "running", "the first process alone writes"


def test_resume_with_another_config_says_what_differs(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config, plain = compose.load(small(tmp_path, f"paths.run={folder}", "attention=dot"))
    start(config, plain, ["attention=dot", "resume=auto"])
    config, plain = compose.load(small(tmp_path, f"resume={folder}"))
    with pytest.raises(UserError) as caught:
        start(config, plain, [])
    text = str(caught.value)
    assert text.startswith(f"resume: {folder} was started with another config (")
    assert "attention.name: 'dot' there, 'additive' here" in text
    assert text.endswith(f"try: python train.py attention=dot resume={folder}")


def test_a_resume_may_have_more_epochs_and_other_threads(tmp_path: Path) -> None:
    config, plain = compose.load(small(tmp_path, f"paths.run={tmp_path / 'run'}"))
    run = start(config, plain, [])
    more = ["trainer.threads=1", "trainer.max_epochs=7", f"resume={run.folder}"]
    config, plain = compose.load(small(tmp_path, *more))
    assert start(config, plain, more).folder == run.folder


def test_damaged_checkpoint_stops_a_resume(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    here = [f"paths.run={folder}", "resume=auto"]
    config, plain = compose.load(small(tmp_path, *here))
    start(config, plain, here)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half of a checkpoint")
    with pytest.raises(UserError) as caught:
        train_small(tmp_path, *here)
    assert str(caught.value).startswith(
        f"{folder}/checkpoints/last.ckpt: damaged, or no checkpoint"
    )
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == b"half of a checkpoint"


def test_open_run_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run's folder"):
        open_run(tmp_path)


def test_fingerprint_ignores_what_does_not_change_the_result() -> None:
    _, one = compose.load(["logger=files", "resume=auto", "paths.runs=elsewhere"])
    _, other = compose.load()
    _, changed = compose.load(["seed=1"])
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(changed)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.threads=100000", "trainer.threads: 100000 is not allowed; should be less than"),
        ("trainer.threads=-3", "trainer.threads: -3 is not allowed; should be greater than"),
        ("trainer.batches.workers=5000", "trainer.batches.workers: 5000 is not allowed; should"),
        ("trainer.optimizer.betas=[0.9,1.0]", "trainer.optimizer.betas.1: 1.0 is not allowed; "),
        ("trainer.clip_norm=nan", "trainer.clip_norm: nan is not allowed; should be a finite num"),
        ("trainer.clip_norm=-1", "trainer.clip_norm: -1 is not allowed; should be greater than 0"),
        ("trainer.max_epochs=0", "trainer.max_epochs: 0 would train nothing; -1 is no limit"),
        ("trainer.optimizer.lr=inf", "trainer.optimizer.lr: inf is not allowed; should be a fin"),
        ("plugins=['']", "plugins: '' is not the name of a module; allowed: my_module, package.mo"),
        ("plugins=[.x]", "plugins: '.x' is not the name of a module; allowed: my_module, packag"),
    ],
)
def test_values_that_would_fail_later(override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        compose.load([override])
    assert str(caught.value).startswith(line)


def test_monitored_figure_that_no_validation_has(tmp_path: Path) -> None:
    monitored = "trainer.checkpoints.monitor=val/exact_mtch"
    with pytest.raises(UserError) as caught:
        train_small(tmp_path, f"paths.run={tmp_path / 'run'}", "dataset.train=16", monitored)
    line = str(caught.value)
    assert line.startswith("trainer.checkpoints.monitor: no figure 'val/exact_mtch'; did you mean")
    assert "'val/exact_match'" in line
    assert not (tmp_path / "run" / "history").exists(), "told before training"


def _numbers(section: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    """Every field of the schema that takes a float."""
    for each in section.__subclasses__():
        is_slot = issubclass(each, Variant) and SLOTS.get(each.slot) is each
        for name, field in each.model_fields.items():
            if "float" in str(field.annotation) and not is_slot:
                yield each, name
        yield from _numbers(each)


def test_no_field_of_the_schema_takes_what_is_no_number() -> None:
    load_kinds()
    fields = dict.fromkeys(_numbers(Section))
    assert len(fields) > 50
    for section, name in fields:
        for number in ("nan", "inf"):
            value = float(number)
            for given in (value, [value], [value, value], {"x": value}):
                try:
                    section.model_validate({name: given})
                except ValidationError as error:
                    about = [e for e in error.errors() if name in e["loc"]]
                assert about, (section, name, given)
