"""Damaged and hostile files of a run and of its data: one line, no code run, nothing silent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from attnlab.cli import main
from attnlab.data.integrity import digest, hashes
from attnlab.errors import UserError
from attnlab.stages.run import open_run
from attnlab.stages.run_status import read_status, write_status
from attnlab.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from tests.commands import small
from tests.runs import train_small
from tests.test_text_files import BOMB

MARKUP = "a[/x] :smile:"  # which rich would take for its own


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    train_small(folder, f"paths.run={folder / 'run'}", "dataset.train=32", "model.dim=8")
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of the run; its prepared data are the original's."""
    return shutil.copytree(original, tmp_path / "run")


def without_checksums(run: Path) -> None:
    """The run with figures as an older attnlab wrote them."""
    figures = json.loads((run / "metrics.json").read_text())
    del figures["checksum"], figures["files"]
    (run / "metrics.json").write_text(json.dumps(figures))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it printed to stderr."""
    capsys.readouterr()
    code = main(words)
    return code, capsys.readouterr().err


def test_a_path_may_hold_marks_of_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.parent / "a[").mkdir()
    run = run.rename(run.parent / MARKUP)
    assert main(["evaluate", str(run)]) == 0
    assert f"metrics.json  {run}/metrics.json" in capsys.readouterr().out
    assert main(["runs", "--below", str(run.parent)]) == 0
    assert str(run) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("- a", "no mapping of keys to values"),
        ("{}", "no keys"),
        (BOMB, "more than 100,000 values, with those that aliases repeat"),
        ("a: !!python/object/apply:os.system ['true']", "line 1: could not determine a const"),
        ("name: ${oc.env:HOME}", "name: '${oc.env:HOME}' is a reference; a run's config has none"),
    ],
    ids=["list", "empty", "bomb", "object", "variable"],
)
def test_config(content: str, problem: str, run: Path) -> None:
    (run / "config.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        open_run(run)
    assert str(caught.value).startswith(f"{run}/config.yaml: damaged ({problem}")
    assert "\n" not in str(caught.value)


def test_overrides_of_a_run_that_search_for_aliases_that_multiply(run: Path) -> None:
    """They are composed again for a run that is older than a key."""
    bomb = run / "conf" / "dataset" / "x.yaml"
    bomb.parent.mkdir(parents=True)
    bomb.write_text(BOMB)
    words = [f"hydra.searchpath=[file://{run}/conf]", "dataset=x"]
    write_status(run, overrides=words)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(re.sub(r"(?m)^seed: 0\n", "", config))
    with pytest.raises(UserError, match=f"{bomb}: damaged"):
        open_run(run)


@pytest.mark.parametrize("content", ["- a", BOMB, "\0", "a: !!python/name:os.system"])
def test_file_of_params(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    code, text = said(capsys, "train", "--params", str(path))
    assert code == 2
    assert text.startswith(f"attnlab: {path}: damaged (")
    assert text.endswith(f"try: attnlab params --output {path}\n")
    assert said(capsys, "train", "--params") == (
        2,
        "attnlab: --params: needs a file; try: --params params.yaml\n",
    )


@pytest.mark.parametrize("content", ["[1]", "\0", '{"overrides": 3}', '{"state": "[/x]"}'])
def test_status(content: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "status.json").write_text(content)
    assert read_status(run)["state"] == "damaged"
    code, text = said(capsys, "report", str(run))
    assert code == 0
    assert text.startswith(f"{run}/status.json: damaged (")
    code, _ = said(capsys, "runs", "--below", str(run.parent))
    assert code == 0


@pytest.mark.parametrize(
    "name", ["metrics.json", "examples.json", "heads.json", "per_example.csv", "resamples.csv"]
)
@pytest.mark.parametrize("damage", ["half", "wrong"])
def test_report_of_damaged_figures(
    name: str, damage: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / name
    whole = path.read_bytes()
    wrong = whole.replace(b": 0.", b": null, 0.", 1).replace(b",0.", b",zero.", 1)
    wrong = wrong.replace(b"[[0.", b"[[null, 0.", 1)
    path.write_bytes(wrong if damage == "wrong" else whole[: len(whole) // 2])
    code, text = said(capsys, "report", str(run))
    assert code == 2
    assert text.startswith(f"attnlab: {path}: ")
    assert text.endswith(f"; try: attnlab evaluate {run}\n")


@pytest.mark.parametrize("name", ["examples.json", "heads.json", "per_example.csv"])
def test_report_of_files_with_other_content(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a checksum of today does not tell already, as in runs that are older."""
    without_checksums(run)
    path = run / name
    path.write_bytes(path.read_bytes()[:200])
    code, text = said(capsys, "report", str(run))
    assert code == 2
    assert text.startswith(f"attnlab: {path}: damaged (")
    assert text.endswith(f"); try: attnlab evaluate {run}\n")


def test_a_figure_that_was_changed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "metrics.json"
    figures = json.loads(path.read_text())
    figures["answer"]["exact_match"] = 0.99
    path.write_text(json.dumps(figures))
    code, text = said(capsys, "report", str(run))
    assert code == 2
    assert text.startswith(f"attnlab: {path}: damaged (its figures differ from their checksum);")


def test_weights_of_heads_that_are_no_weights(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_checksums(run)
    heads = json.loads((run / "heads.json").read_text())
    next(iter(heads[0].values()))["shape"][0] += 1
    (run / "heads.json").write_text(json.dumps(heads))
    code, text = said(capsys, "report", str(run))
    assert code == 2
    assert "heads.json: damaged (weights of another size than [" in text


@pytest.mark.parametrize("content", [b"", b"step,loss\n1,0.5\n2", b"step,loss\nx,0.5\n", b"\xff"])
def test_report_tells_a_damaged_history_and_goes_on(
    content: bytes, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "history" / "val.csv"
    path.write_bytes(content)
    code, text = said(capsys, "report", str(run))
    assert code == 0
    changed, damaged = text.splitlines()
    assert changed == f"{path}: changed since the run was evaluated; try: attnlab evaluate {run}"
    assert damaged.startswith(f"{path}: damaged (")
    assert damaged.endswith("); the report is written without it")


@pytest.mark.parametrize("name", ["val.csv", "maps/*.json"])
def test_report_tells_a_digit_of_history_that_changed(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((run / "history").glob(name))
    path.write_text(re.sub(r"\d\b(?=\D*$)", "7", path.read_text().replace("0.1", "0.7")))
    code, text = said(capsys, "report", str(run))
    assert code == 0
    assert text.startswith(f"{path}: changed since the run was evaluated; ")


def test_predict_tells_data_that_the_run_was_not_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (meta,) = Path(open_run(run).config.paths.prepared).glob("*/meta.json")
    copy = shutil.copytree(meta.parent, tmp_path / "prepared" / meta.parent.name)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(meta.parent.parent), str(copy.parent)))
    rows = (copy / "train.jsonl").read_text().splitlines()
    (copy / "train.jsonl").write_text("\n".join(rows[::-1]) + "\n")
    files = hashes(copy)
    facts = json.loads(meta.read_text()) | {"files": files, "digest": digest(files)}
    (copy / "meta.json").write_text(json.dumps(facts))
    code, text = said(capsys, "predict", str(run))
    assert code == 0, text
    assert f"best.ckpt: was trained on data that differ from {copy}" in text


@pytest.mark.parametrize("content", [b"{", b"[1]", b"{}", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["vocabulary.json", "test.jsonl", "meta.json"])
@pytest.mark.parametrize("forged", [False, True])
def test_prepared_data(
    forged: bool,
    name: str,
    content: bytes,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where somebody wrote hashes that are right for them."""
    (meta,) = Path(open_run(run).config.paths.prepared).glob("*/meta.json")
    copy = shutil.copytree(meta.parent, tmp_path / "prepared" / meta.parent.name)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(meta.parent.parent), str(copy.parent)))
    (copy / name).write_bytes(content)
    if forged and name != "meta.json":
        files = hashes(copy)
        facts = json.loads(meta.read_text()) | {"files": files, "digest": digest(files)}
        (copy / "meta.json").write_text(json.dumps(facts))
    code, text = said(capsys, "predict", str(run))
    assert code == 2, text
    text = text[text.index("attnlab: ") :]
    assert text.startswith(f"attnlab: {copy}"), text
    assert name in text
    assert f"try: rm -r {copy}, then" in text


def without_state(content: dict) -> None:
    del content["state_dict"]


def of_another_shape(content: dict) -> None:
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = content["state_dict"][name][:1].clone()


def without_optimizer(content: dict) -> None:
    del content["optimizer_states"]


def with_words_for_a_step(content: dict) -> None:
    content["global_step"] = "four"


def with_another_optimizer(content: dict) -> None:
    state = next(iter(content["optimizer_states"][0]["state"].values()))
    state["exp_avg"] = state["exp_avg_sq"] = torch.ones(1)


def without_random_numbers(content: dict) -> None:
    content["callbacks"]["RandomState"] = {"ranks": [{"torch": 3}]}


def with_a_list_of_callbacks(content: dict) -> None:
    content["callbacks"] = [1, 2]


def of_no_origin(content: dict) -> None:
    content["attnlab"] = []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (without_state, "damaged, or no checkpoint at all (state_dict: Field required)"),
        (of_no_origin, "damaged, or no checkpoint at all (attnlab: Input should be a valid dict"),
        (of_another_shape, "does not fit the model of"),
        (without_optimizer, "no state of a training in it; try: resume=never"),
        (with_words_for_a_step, "no state of a training in it; try: resume=never"),
        (with_another_optimizer, "does not fit this training ("),
        (without_random_numbers, "does not fit this training ("),
        (with_a_list_of_callbacks, "does not fit this training ("),
    ],
)
def test_checkpoint_to_resume(
    change: Callable[[dict], None],
    line: str,
    run: Path,
    original: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where somebody wrote a checksum that is right for it."""
    path = run / "checkpoints" / "last.ckpt"
    content = read_checkpoint(path)
    change(content)
    AtomicCheckpointIO().save_checkpoint(content, path)
    words = small(original.parent, f"paths.run={run}", "dataset.train=32", "model.dim=8")
    more = ["resume=auto", "trainer.max_epochs=2", "stages=[train]"]
    code, text = said(capsys, "train", *words, *more)
    assert code in (1, 2), text
    message = text[text.index("attnlab: ") :]
    assert message.startswith(f"attnlab: {path}: {line}")
    assert len(message.splitlines()) == 1
