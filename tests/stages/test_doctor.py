"""`attnlab doctor`: what is wrong with a machine or a run, a line each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from attnlab.attention.kernels import block_sparse, measure, native
from attnlab.cli import main
from attnlab.stages import doctor, machine_checks, run_lock
from attnlab.stages.run import open_run
from attnlab.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from tests.commands import environment
from tests.runs import train_small
from tests.stages.test_run_lock import held, killed

WITNESS = "from pathlib import Path\nPath('ran').touch()\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    train_small(folder, f"paths.run={folder / 'run'}", "dataset.train=32", "model.dim=8")
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of the run with data of its own."""
    prepared = Path(open_run(original).config.paths.prepared)
    shutil.copytree(prepared, tmp_path / "prepared")
    run = shutil.copytree(original, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(prepared), str(tmp_path / "prepared")))
    return run


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the mark and the text of each finding that is not ok, by its subject."""
    capsys.readouterr()
    code = main(["doctor", *words])
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    found = {line[1]: f"{line[0]} {line[2]}" for line in lines if line and line[0] in doctor.STYLES}
    return code, {about: text for about, text in found.items() if not text.startswith("ok ")}


def test_a_whole_run(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(original)]) == 0
    printed = capsys.readouterr().out
    assert "every file has its hash" in printed
    assert "equal to the formulas in fp32 and fp64" in printed
    assert printed.splitlines()[-1] == "nothing is wrong"


def test_help_needs_no_torch() -> None:
    code = "import sys; from attnlab.stages import doctor; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_a_run_that_was_killed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "running"}))
    (run / "checkpoints/.last.ckpt.part").write_text("half")
    code, findings = said(capsys, str(run))
    assert code == 1
    again = findings["status.json"]
    assert again.startswith("wrong says running, but its process is gone; try: python train.py ")
    assert again.endswith(f"resume={run}")
    assert findings["checkpoints/.last.ckpt.part"].startswith("note left by a kill, never read;")
    process = held(run)
    try:
        assert said(capsys, str(run)) == (0, {"extras": findings["extras"]})
    finally:
        killed(process)
    assert run_lock.owner(run) is None


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    while content[place] == ord("Z"):  # fills the gaps of a checkpoint, and says nothing
        place += 1
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "about", "remedy"),
    [
        ("checkpoints/best.ckpt", "checkpoints/best.ckpt", "resume=never"),
        ("metrics.json", "figures", "attnlab evaluate {run}"),
        ("examples.json", "figures", "attnlab evaluate {run}"),
        ("heads.json", "figures", "attnlab evaluate {run}"),
        ("per_example.csv", "figures", "attnlab evaluate {run}"),
    ],
)
def test_a_bit_that_changed(
    name: str, about: str, remedy: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run / name)
    code, findings = said(capsys, str(run))
    assert code == 1
    assert findings[about].startswith("wrong ")
    assert str(run / name) in findings[about]
    assert findings[about].endswith(f"; try: {remedy.format(run=run)}")


@pytest.mark.parametrize(
    ("name", "content", "about"),
    [
        ("config.yaml", "- a", "config.yaml"),
        ("config.yaml", "seed: x", "config.yaml"),
        ("status.json", "[1]", "status.json"),
        ("history/val.csv", "step,loss\n1,x\n", "history"),
        ("history/maps/step-00000001.json", "{}", "history"),
    ],
)
def test_a_file_with_other_content(
    name: str, content: str, about: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(content)
    code, findings = said(capsys, str(run))
    assert code == 1
    assert findings[about].startswith("wrong ")


def test_weights_that_are_no_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "checkpoints" / "last.ckpt"
    content = read_checkpoint(path)
    next(iter(content["state_dict"].values())).view(-1)[0] = torch.inf
    AtomicCheckpointIO().save_checkpoint(content, path)
    code, findings = said(capsys, str(run))
    assert code == 1
    assert "is NaN or infinite; try: resume=never" in findings["checkpoints/last.ckpt"]


def test_data_that_changed_in_size_and_date_alike(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (run.parent / "prepared").glob("*/train.jsonl")
    state = path.stat()
    damage(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    code, findings = said(capsys, str(run))
    assert code == 1
    assert findings["data"].startswith(f"wrong {path.parent}: train.jsonl differs from its hash; ")
    shutil.rmtree(path.parent)
    code, findings = said(capsys, str(run))
    assert code == 0
    assert findings["data"].startswith("note none in ")


def test_plugins_of_a_run_are_not_imported(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    monkeypatch.syspath_prepend(run.parent)
    (run.parent / "planted.py").write_text(WITNESS)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("plugins: []", "plugins: [planted]"))
    code, findings = said(capsys, str(run))
    assert code == 0
    assert "plugins, not imported here" in findings["config.yaml"]
    assert "planted" not in sys.modules
    assert not (run.parent / "ran").exists()


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert f"{tmp_path}: not a run's folder" in capsys.readouterr().err


def test_kernels_that_are_wrong_at_one_length(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = block_sparse._run

    def wrong_there(name: str, arrays, *rest) -> None:
        run(name, arrays, *rest)
        if name == "attend_back" and arrays[0].dtype == torch.float64 and arrays[0].shape[2] == 28:
            arrays[7][..., -1, :] *= 2

    monkeypatch.setattr(block_sparse, "_run", wrong_there)
    if native.library() is None:
        pytest.skip("there is no C compiler")
    (message,) = measure.differing()
    assert message.startswith("sparse is off by ")
    assert message.endswith(" in torch.float64 at lengths 28")
    code, findings = said(capsys)
    assert code == 1
    assert findings["kernels"].startswith(f"wrong {message}; try: ")


def test_a_machine_where_much_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/dev/null")
    settings = Path(os.environ["ATTNLAB_HOME"])
    monkeypatch.setenv("ATTNLAB_HOME", str(tmp_path))
    (tmp_path / "trusted_plugins.txt").touch()
    (tmp_path / "trusted_plugins.txt").chmod(0o666)
    monkeypatch.setattr(native, "find_compiler", lambda: None)
    monkeypatch.setattr(machine_checks, "_cores", lambda: 0)
    monkeypatch.setattr(machine_checks, "ROOM", 1 << 60)
    version = metadata.version
    others = {"wandb": "0.1", "entmax": "1.99"}
    monkeypatch.setattr(metadata, "version", lambda name: others.get(name) or version(name))
    code, findings = said(capsys)
    assert settings.exists()
    assert code == 1
    assert findings["threads"].startswith("wrong 1 threads on 0 cores")
    assert findings["home"] == "wrong /dev/null cannot be written to; try: export HOME=FOLDER"
    assert findings["plugins"].endswith(f"; try: chmod 600 {tmp_path}/trusted_plugins.txt")
    assert findings["compiler"].startswith("note no C compiler: ")
    assert "free some, or paths.runs=OTHER_FOLDER" in findings["paths.runs"]
    assert findings["packages"].startswith("note not the tested versions: entmax 1.99 (")
    capsys.readouterr()
    main(["doctor"])
    assert "wandb is 0.1, not in >=0.31; try: pip install 'wandb>=0.31'" in capsys.readouterr().out
