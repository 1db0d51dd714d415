"""Every command of the README is run, on little data where it trains."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.config.compose import config_dir
from attnlab.stages.run_start import FOLDER_VARIABLE
from tests.commands import REPOSITORY, run, small

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
# A line may show two commands side by side, with spaces between; what follows # is a remark.
COMMANDS = [
    command.strip()
    for block in BLOCKS
    for line in block.splitlines()
    for command in re.split(r"\s{2,}", line.split(" #")[0])
    if command.strip()
]
TRAINING = [shlex.split(c)[2:] for c in COMMANDS if c.startswith("python train.py")]
ONLY_SHOW = {"--cfg", "--help"}
OWN_PROCESSES = {"-m", "trainer=ddp_sim", "hparams=lr"}  # start others like themselves


@pytest.fixture
def readme_plugin(forgotten_plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's example of a score of one's own, where Python finds it."""
    code = re.search(r"```python\n# my_scores.py\n(.*?)```", README, re.DOTALL)
    assert code is not None
    (tmp_path / "my_scores.py").write_text(code.group(1))
    monkeypatch.syspath_prepend(tmp_path)


def test_every_command_of_the_readme_is_known_here() -> None:
    stages = (
        "evaluate",
        "predict",
        "report",
        "explain",
        "attack",
        "compare",
        "data",
        "runs",
        "doctor",
        "new",
        "estimate",
        "align",
    )
    known = ("python train.py", *(f"attnlab {stage}" for stage in stages))
    others = [command for command in COMMANDS if not command.startswith(known)]
    # `make` is what sets up and runs these tests; test_dvc.py runs `dvc repro` on a fresh clone,
    # test_data.py, test_explain.py, test_compare.py, test_predict.py, test_align.py,
    # test_attack.py, test_doctor.py, test_estimate.py and test_new.py run the stages they are
    # named after.
    assert others == ["make run", "make test", "dvc repro"]


def test_every_experiment_is_named_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "experiments.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`", page.partition("| | `experiment=` |")[2].partition("\n\n")[0])
    shipped = (path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
    assert sorted(named) == sorted(shipped)


@pytest.mark.usefixtures("readme_plugin")
@pytest.mark.parametrize(
    "words", [w for w in TRAINING if not (ONLY_SHOW | OWN_PROCESSES) & set(w)], ids=" ".join
)
def test_training(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    # The README's own words come last, so that they win over what makes the run small.
    assert main(["train", *small(tmp_path, *words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": prepare, train, evaluate, report")
    (report,) = tmp_path.glob("runs/*/*/report.html")
    if "debug=fast_dev_run" in words:
        assert lines[-1] == "ok"
    if not words or any(word.startswith("plugins=") for word in words):
        for command in ("evaluate", "report"):
            assert main([command, str(report.parent)]) == 0


@pytest.mark.parametrize(
    "words", [w for w in TRAINING if (ONLY_SHOW | OWN_PROCESSES) & set(w)], ids=" ".join
)
def test_in_its_own_process(words: list[str], tmp_path: Path) -> None:
    flags = [word for word in words if word in ("-m", "--cfg", "job", "--help")]
    others = [word for word in words if word not in flags]
    others = others if ONLY_SHOW & set(words) else small(tmp_path, *others)
    done = run([sys.executable, str(REPOSITORY / "train.py"), *flags, *others])
    assert done.returncode == 0, done.stderr[-2000:]


def test_sync_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    assert main(["sync", str(tmp_path)]) == 0
    assert f"wandb sync {tmp_path}/wandb/offline-run-1" in capsys.readouterr().out
