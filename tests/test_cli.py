"""The front door: what it says, how fast, and with which exit code."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pytest
import yaml

from attnlab.cli import commands, main
from attnlab.config.compose import load
from tests.commands import run
from tests.test_text_files import BOMB

TRAIN = [sys.executable, "train.py"]


def test_train_py_and_attnlab_train_are_the_same_code() -> None:
    one = run([*TRAIN, "--cfg", "job"])
    other = run([sys.executable, "-m", "attnlab", "train", "--cfg", "job"])
    assert one.returncode == other.returncode == 0
    assert one.stdout == other.stdout
    assert "seed: 0" in one.stdout


@pytest.mark.slow  # how fast is a question for a machine that does nothing else
@pytest.mark.parametrize(
    ("arguments", "seconds", "code"),
    [(["--cfg", "job"], 1.0, 0), (["--help"], 1.3, 0), (["trainer.max_epoch=3"], 1.3, 2)],
)
def test_answers_in_about_a_second(arguments: list[str], seconds: float, code: int) -> None:
    """Seconds of work, the least of five runs: how long one waits depends on what else runs here.

    `python -m benchmarks.answers` measures the waiting, on a machine that does nothing else.
    """
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run([*TRAIN, *arguments]).returncode == code
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) <= seconds, times


def test_help_names_every_group_with_its_choices() -> None:
    done = run([*TRAIN, "--help"])
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert any(line.startswith("attention: additive, alibi, ") for line in lines)
    assert "attention/position: alibi, cosine, learned, none, rope, shaw, sinusoidal, t5, " in (
        done.stdout
    )
    [tasks] = [line for line in lines if line.startswith("task: ")]
    assert {"attend", "classify", "generate", "tag"} <= set(
        tasks.removeprefix("task: ").split(", ")
    )
    assert not any(line.startswith("hydra") for line in lines)


def test_mistakes_end_with_code_2_and_the_next_command() -> None:
    done = run([*TRAIN, "attention=additve", "seed=-1"])
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "attnlab: 2 mistakes:"
    assert lines[1].startswith("  attention: no option 'additve'; did you mean 'additive'?")
    assert lines[2] == "  seed: -1 is not allowed; should be greater than or equal to 0"
    assert lines[3] == "  try: python train.py --cfg job   (shows every key with its value)"


def test_shell_completion_knows_groups_and_keys() -> None:
    def complete(line: str) -> list[str]:
        command = [*TRAIN, "-sc", "query=bash"]
        variables = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        done = run(command, variables=variables)
        assert done.returncode == 0
        return done.stdout.split()

    assert "attention=additive" in complete("python train.py attention=add")
    assert "trainer.max_epochs=" in complete("python train.py trainer.max_e")


def test_overview_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in commands())


def test_unknown_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "no stage 'trian'; did you mean 'train'?" in capsys.readouterr().err


def test_a_folder_that_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", os.devnull]) == 2
    assert capsys.readouterr().err.startswith(f"attnlab: {os.devnull}: not a run's folder")


CHECKED = """
import sys
from pathlib import Path
from attnlab.cli import main
Path("one.csv").write_text("text,label\\nfine,good\\n")
files = ["train", "dataset=files", "dataset.folder=.", "model=recurrent", "task=classify"]
for words in (
    [*files, "dataset.splits.train=one.csv", "dataset.inputs.text=txt"],
    ["train", "experiment=sst2", "paths.data=there"],
    ["predict", sys.argv[1], "--input", "nowhere.csv"],
    ["report", sys.argv[1], "nowhere"],
    ["evaluate", sys.argv[1], "metrics.link=1"],
    ["explain", sys.argv[1], "examples=none"],
):
    assert main(words) == 2, words
sys.exit("torch" in sys.modules)
"""


def test_arguments_are_checked_before_torch_is_imported(tmp_path: Path) -> None:
    _, plain = load()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    done = run([sys.executable, "-c", CHECKED, str(tmp_path)], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("attnlab: ")]
    problems = [line for line in lines if "left out" not in line]
    begins = [
        "dataset.inputs.text: no column 'txt' in one.csv; did you mean 'text'?",
        "dataset.splits.train: no folder there/sst2; ",
        "--input: no file nowhere.csv; ",
        "nowhere: not a run's folder; ",
    ]
    for problem, begin in zip(problems, begins, strict=False):
        assert problem.startswith(f"attnlab: {begin}")


def test_a_flag_of_hydra_that_is_wrong_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-cn", "nothing"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("attnlab: config: ")
    assert "nothing" in text
    assert main(["train", "--config-dir", "/nowhere"]) == 2
    assert capsys.readouterr().err == "attnlab: --config-dir: no folder /nowhere\n"


def test_mistakes_in_a_folder_of_ones_own_are_those_of_conf(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my conf"
    (folder / "experiment").mkdir(parents=True)
    mine = folder / "experiment" / "mine.yaml"
    mine.write_text("# @package _global_\nseed: 3\n")
    for flag in (["--config-dir", str(folder)], [f"-cd={folder}"]):
        assert main(["train", *flag, "experiment=mine", "trainer.max_epoch=1", "seed=-1"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "attnlab: 2 mistakes:"
        assert lines[1].startswith("  trainer.max_epoch: unknown key; did you mean 'max_epochs'?")
        assert lines[2].startswith("  seed: -1 is not allowed")
    for words in (["experiment=mine", "--cfg", "job"], ["--cfg", "job", "experiment=mine"]):
        assert main(["train", "--config-dir", str(folder), *words]) == 0
        assert "\nseed: 3\n" in capsys.readouterr().out
    assert main(["train", "--config-dir", str(folder), "experiment=mien"]) == 2
    assert "experiment: no option 'mien'; did you mean 'mine'?" in capsys.readouterr().err


def test_a_folder_of_ones_own_with_aliases_that_multiply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "x.yaml").write_text(BOMB)
    assert main(["train", "--config-dir", str(tmp_path), "dataset=x"]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"attnlab: {tmp_path}/dataset/x.yaml: damaged (more than 100,000 values")
