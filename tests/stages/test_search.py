"""Search with Optuna: checked first, side by side, goes on where it stopped."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run, small_run

pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")

from optuna.trial import TrialState

from attnlab.config import compose
from attnlab.config.schema import Hparams
from attnlab.errors import ConfigError, RunError, UserError
from attnlab.stages.executors import ShouldStop
from attnlab.stages.search import Search, check_space, main, open_study, show

LR = {"trainer.optimizer.lr": {"low": 0.001, "high": 0.01, "log": True}}


def settings(**changes: Any) -> Hparams:
    given = {
        "name": "test",
        "trials": 4,
        "jobs": 1,
        "monitor": "val/loss",
        "direction": "minimize",
        "pruner": "none",
        "search": LR,
    }
    return Hparams.model_validate(given | changes)


class Scripted:
    """An executor without training: the loss of each epoch is a formula of the overrides."""

    def __init__(self, losses: Callable[[float], Sequence[float]]) -> None:
        self.parallel, self.losses = 1, losses
        self.commands: list[list[str]] = []
        self.exit_codes: dict[int, int] = {}  # by the number of the call

    def run(self, command: Sequence[str], log: Path, should_stop: ShouldStop | None = None) -> int:
        self.commands.append(list(command))
        [lr] = [float(word.split("=")[1]) for word in command if word.startswith("trainer.opt")]
        code = self.exit_codes.get(len(self.commands), 0)
        folder = log.parent
        (folder / "history").mkdir(exist_ok=True)
        with (folder / "history" / "val.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss"])
            for step, loss in enumerate(self.losses(lr)):
                writer.writerow([step, loss])
                file.flush()
                if should_stop is not None and should_stop():
                    return 1
        state = "finished" if code == 0 else "interrupted" if code < 0 else "failed"
        (folder / "status.json").write_text(json.dumps({"state": state}))
        return abs(code)

    def stop(self) -> None:
        raise AssertionError("nothing runs in the background")


def search(folder: Path, executor: Scripted, given: Hparams, seed: int = 0) -> Search:
    study = open_study(given, folder, "mark", seed)
    made = Search(given, study, folder, [])
    made.sweep.executor = executor
    return made


def mistakes(search: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        check_space(search, [])
    return {mistake.where: str(mistake) for mistake in error.value.mistakes}


def test_every_entry_is_checked_at_once() -> None:
    found = mistakes(
        {
            "trainer.optimizer.lrr": {"low": 0.1, "high": 0.2},
            "model.dim": {"low": 64, "high": 16},
            "seed": {"choices": [1, 2]},
            "attention": {"choice": ["dot", "addditive"]},
            "model.dropout": {"low": 0.1, "high": 1.5},
            "trainer.clip_norm": {"low": 0, "high": 1, "log": True},
            "trainer.max_epochs": {"choice": []},
            "trainer.log_every": {"low": "1e-3", "high": 2},
        }
    )
    assert "did you mean 'lr'?" in found["trainer.optimizer.lrr"]
    assert "low 64 is not below high 16" in found["hparams.search.model.dim"]
    assert "did you mean 'choice'?" in found["hparams.search.seed"]
    assert "did you mean 'additive'?" in found["attention"]
    assert "1.5" in found["model.dropout"]
    assert "no logarithm" in found["hparams.search.trainer.clip_norm.low"]
    assert "at least one value" in found["hparams.search.trainer.max_epochs.choice"]
    assert "not a number" in found["hparams.search.trainer.log_every.low"]
    assert len(found) == 8


def test_a_right_search_passes() -> None:
    search = {
        "trainer.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.dim": {"low": 16, "high": 64, "step": 16},
        "attention": {"choice": ["dot", "additive"]},
        "trainer.clip_norm": {"choice": [1.0, None]},
    }
    check_space(search, ["model=transformer"])


def test_the_best_trial_is_found_and_its_command_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = Scripted(lambda lr: [1.0, abs(math.log10(lr) + 2.5)])
    given = settings(trials=12)
    made = search(tmp_path, executor, given)
    made.run()
    best = made.study.best_trial
    assert best.value == min(trial.value or 9.0 for trial in made.study.trials)
    show(made.study, given, ["model.dim=16"])
    command = capsys.readouterr().out.strip().splitlines()[-1]
    assert command.startswith("best: python train.py model.dim=16 trainer.optimizer.lr=")
    chosen = float(command.split("=")[-1])
    assert abs(math.log10(chosen) + 2.5) == pytest.approx(best.value)
    assert all("~hparams" in words for words in executor.commands), "no search within a trial"


def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Finished trials count, more can be asked for, and none is drawn a second time."""
    executor = Scripted(lambda lr: [lr])
    search(tmp_path, executor, settings(trials=3)).run()
    search(tmp_path, executor, settings(trials=3)).run()
    assert len(executor.commands) == 3
    made = search(tmp_path, executor, settings(trials=5))
    made.run()
    assert len(executor.commands) == 5
    assert len({str(trial.params) for trial in made.study.trials}) == 5


def test_a_trial_that_was_cut_off_is_the_one_that_goes_on(tmp_path: Path) -> None:
    executor = Scripted(lambda lr: [lr])
    executor.exit_codes[2] = -1  # the second job is interrupted
    first = search(tmp_path, executor, settings(trials=2))
    first.run()
    assert [t.state for t in first.study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    second = search(tmp_path, executor, settings(trials=2))
    second.run()
    assert [t.state for t in second.study.trials] == [TrialState.COMPLETE] * 2
    assert len(executor.commands) == 3
    assert executor.commands[2] == executor.commands[1], "the same job, which has resume=auto"


def test_a_trial_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = Scripted(lambda lr: [lr])
    executor.exit_codes[1] = 1
    made = search(tmp_path, executor, settings(trials=3))
    made.run()
    states = [trial.state for trial in made.study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    show(made.study, made.settings, [])
    assert "fail" in capsys.readouterr().out


def test_losses_that_are_no_numbers_fail_the_trial(tmp_path: Path) -> None:
    executor = Scripted(lambda lr: [math.nan])
    made = search(tmp_path, executor, settings(trials=1))
    made.run()
    assert [trial.state for trial in made.study.trials] == [TrialState.FAIL]
    with pytest.raises(RunError, match="no trial"):
        show(made.study, made.settings, [])


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    """After five good trials, one with ten times their loss is given up at its first epochs."""
    losses = iter([[0.3, 0.2, 0.1]] * 5 + [[3.0, 2.0, 1.0]])
    executor = Scripted(lambda lr: next(losses))
    made = search(tmp_path, executor, settings(trials=6, pruner="median"))
    made.run()
    assert [t.state for t in made.study.trials] == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED]
    assert len(made.study.trials[-1].intermediate_values) < 3


def test_a_study_keeps_to_what_it_was_made_for(tmp_path: Path) -> None:
    search(tmp_path, Scripted(lambda lr: [lr]), settings(trials=1)).run()
    other = {"model.dim": {"choice": [16, 32]}}
    for changes, word in (
        ({"search": other}, "search"),
        ({"monitor": "val/exact_match"}, "monitor"),
        ({"direction": "maximize"}, "direction"),
    ):
        with pytest.raises(UserError, match=f"another {word}.*hparams.name=test-2"):
            open_study(settings(**changes), tmp_path, "mark", 0)
    with pytest.raises(UserError, match="another config"):
        open_study(settings(), tmp_path, "another mark", 0)


def test_a_figure_that_no_run_has_is_named(tmp_path: Path) -> None:
    made = search(tmp_path, Scripted(lambda lr: [lr]), settings(monitor="val/los"))
    made.sweep.executor.stop = lambda: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match="did you mean 'val/loss'"):
        made.run()


def test_a_study_is_searched_by_one_process_at_a_time(tmp_path: Path) -> None:
    from attnlab.stages.executors import exclusive_lock

    words = ["hparams=lr", f"paths.runs={tmp_path}"]
    config, plain = compose.load(words)
    (tmp_path / "hparams" / "lr").mkdir(parents=True)
    with (
        exclusive_lock(tmp_path / "hparams" / "lr" / ".lock"),
        pytest.raises(UserError, match="another process"),
    ):
        main(config, plain, words)


def test_the_command_searches_side_by_side(tmp_path: Path) -> None:
    """The real thing: two trials at once, the table, and the command that runs the best again."""
    words = ["hparams=lr", "hparams.trials=2", "hparams.jobs=2"]
    command = small_run(tmp_path, *words)
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = [path.parent for path in tmp_path.glob("runs/hparams/lr/*/config.yaml")]
    assert len(folders) == 2
    best = shlex.split(re.findall("best: (.*)", done.stdout)[0])
    assert best[:2] == ["python", "train.py"]
    config, _ = compose.load(best[2:])
    assert config.hparams is None
    losses = {path: (path / "history" / "val.csv").read_text() for path in folders}
    assert len(set(losses.values())) == 2

    again = run(command, tmp_path)
    assert again.returncode == 0
    assert "2 trials done, 0 new" in again.stdout
    assert re.findall("best: (.*)", again.stdout) == re.findall("best: (.*)", done.stdout)
