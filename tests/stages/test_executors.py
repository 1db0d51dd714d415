"""Where jobs run: processes of this machine, and what stands in for a cluster."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from attnlab.errors import UserError
from attnlab.stages.executors import STILL_RUNNING, Processes, Ray, RemoteModule, Submitit
from tests.commands import run

Module = Callable[..., list[str]]

# Ends badly, in a way of its own.
ENDS_WITH_SEVEN = """
import sys
print("out")
print("err", file=sys.stderr)
sys.exit(7)
"""
SAYS_WHAT_IT_GOT = """
import os, time, torch
print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"], torch.get_num_threads())
time.sleep(1)
"""
IS_KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
# Ends well when it is asked to stop; leaves a mark, and is done at once the second time.
STOPS_WHEN_ASKED = """
import pathlib, signal, sys, time
mark = pathlib.Path(sys.argv[1])
if mark.exists():
    sys.exit(0)
def save(*_):
    mark.write_text("saved")
    sys.exit(3)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Makes a module of some code, and says how it is run."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for processes that are not forked

    def written(code: str, *arguments: object) -> list[str]:
        name = f"module_{hashlib.sha256(code.encode()).hexdigest()[:8]}"
        (tmp_path / f"{name}.py").write_text(code)
        return [name, *map(str, arguments)]

    return written


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def in_background(run: Callable[[], int]) -> tuple[threading.Thread, list[int]]:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run()))
    thread.start()
    return thread, codes


def test_exit_code_and_what_was_printed(tmp_path: Path, module: Module) -> None:
    log = tmp_path / "log.txt"
    assert Processes().run(module(ENDS_WITH_SEVEN), log) == 7
    assert sorted(log.read_text().split()) == ["err", "out"]
    assert Processes().run(module(IS_KILLED), log) == -signal.SIGKILL


def test_an_error_is_in_the_log(tmp_path: Path, module: Module) -> None:
    log = tmp_path / "log.txt"
    assert Processes().run(module("1 / 0"), log) == 1
    assert "ZeroDivisionError" in log.read_text()


def test_many_that_end_at_once_are_all_heard(tmp_path: Path, module: Module) -> None:
    executor, ends = Processes(8), module("import sys; sys.exit(int(sys.argv[1]))")
    threads = []
    for i in range(24):
        log = tmp_path / str(i) / "log.txt"
        log.parent.mkdir()
        threads.append(in_background(lambda log=log, i=i: executor.run([*ends, str(i)], log)))
    for thread, _ in threads:
        thread.join()
    assert [codes for _, codes in threads] == [[i] for i in range(24)]


def test_processors_and_gpus_are_shared_out(
    tmp_path: Path, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    executor, says = Processes(2, gpus=[3, 5]), module(SAYS_WHAT_IT_GOT)
    threads = []
    for name in ("a", "b"):
        log = tmp_path / name / "log.txt"
        log.parent.mkdir()
        threads.append(in_background(lambda log=log: executor.run(says, log))[0])
    for thread in threads:
        thread.join()
    printed = [(tmp_path / name / "log.txt").read_text().split() for name in ("a", "b")]
    assert sorted(gpu for gpu, _, _ in printed) == ["3", "5"]
    expected = str(max((os.cpu_count() or 1) // 2, 1))
    assert all(threads == [expected, expected] for _, *threads in printed)


def test_what_forks_begin_with_has_not_touched_a_gpu() -> None:
    """CUDA that was started before a fork cannot be used after it."""
    code = (
        "import torch\n"
        "def touched(*_): raise AssertionError('CUDA was touched')\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, touched)\n"
        "from attnlab.stages.executors import PRELOADED\n"
        "for name in PRELOADED: __import__(name)"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr


def test_stop_lets_a_process_save_and_starts_no_other(tmp_path: Path, module: Module) -> None:
    executor, log, mark = Processes(), tmp_path / "log.txt", tmp_path / "mark"
    thread, codes = in_background(lambda: executor.run(module(STOPS_WHEN_ASKED, mark), log))
    wait_until(lambda: log.is_file() and "ready" in log.read_text())
    executor.stop()
    thread.join(30)
    assert codes == [3]
    assert mark.read_text() == "saved"
    with pytest.raises(KeyboardInterrupt):
        executor.run(module("print('too late')"), log)
    assert "too late" not in log.read_text()


def test_a_watch_ends_a_process(tmp_path: Path, module: Module) -> None:
    log, mark = tmp_path / "log.txt", tmp_path / "mark"
    command = module(STOPS_WHEN_ASKED, mark)
    code = Processes().run(command, log, should_stop=lambda: "ready" in log.read_text())
    assert code == 3


def test_a_job_is_run_by_one_process_at_a_time(tmp_path: Path, module: Module) -> None:
    """Even if the sweep that started it is gone: the process itself holds the lock."""
    executor, log, mark = Processes(2), tmp_path / "log.txt", tmp_path / "mark"
    thread, codes = in_background(lambda: executor.run(module(STOPS_WHEN_ASKED, mark), log))
    wait_until(lambda: log.is_file() and "ready" in log.read_text())
    assert Processes().run(module("print('second')"), log) == STILL_RUNNING
    executor.stop()
    thread.join(30)
    assert codes == [3]
    assert Processes().run(module("print('second')"), log) == 0


def test_a_task_asks_its_process_to_save(tmp_path: Path, module: Module) -> None:
    mark = tmp_path / "mark"
    task = RemoteModule(module(STOPS_WHEN_ASKED, mark), tmp_path / "log.txt", tmp_path)
    thread, codes = in_background(task)
    wait_until(lambda: "ready" in task.log.read_text() if task.log.is_file() else False)
    task.end()
    thread.join(30)
    assert (codes, mark.read_text()) == ([3], "saved")


def submitit_executor(folder: Path) -> Submitit:
    pytest.importorskip("submitit", reason="the extra 'sweep' is not installed")
    return Submitit("local", 1, folder, {"timeout_min": 240, "gpus_per_node": 0})


def test_submitit_hands_back_the_exit_code(tmp_path: Path, module: Module) -> None:
    executor, log = submitit_executor(tmp_path), tmp_path / "log.txt"
    assert executor.run(module(ENDS_WITH_SEVEN), log) == 7
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_preempted_job_saves_is_queued_again_and_ends_well(
    tmp_path: Path, module: Module
) -> None:
    executor, log, mark = submitit_executor(tmp_path), tmp_path / "log.txt", tmp_path / "mark"
    thread, codes = in_background(lambda: executor.run(module(STOPS_WHEN_ASKED, mark), log))
    wait_until(lambda: log.is_file() and "ready" in log.read_text())
    [task] = psutil.Process(int(executor.jobs[0].job_id)).children()
    task.send_signal(signal.SIGUSR2)  # what SLURM sends before a time-out or a preemption
    thread.join(60)
    assert mark.read_text() == "saved"
    assert codes == [0], "the second time the job finds its mark and ends"


def test_slurm_is_asked_for_by_name(tmp_path: Path) -> None:
    """Without SLURM on the machine this is where the way ends, in one line."""
    with pytest.raises(UserError, match="srun"):
        Submitit("slurm", 1, tmp_path, {"timeout_min": 1})


def test_settings_that_submitit_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="timeout_mins"):
        Submitit("local", 1, tmp_path, {"timeout_mins": 1})


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_ray_says_what_to_install() -> None:
    with pytest.raises(UserError, match=r"attnlab\[ray\]"):
        Ray(1, {}, {})


def test_ray_hands_back_the_exit_code(tmp_path: Path, module: Module) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    init = {"address": "local", "include_dashboard": False, "log_to_driver": False}
    executor = Ray(1, init, {"num_cpus": 1, "num_gpus": 0})
    try:
        log = tmp_path / "log.txt"
        assert executor.run(module(ENDS_WITH_SEVEN), log) == 7
        assert sorted(log.read_text().split()) == ["err", "out"]
    finally:
        ray.shutdown()
