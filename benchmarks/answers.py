"""How long the command line takes to answer what needs no training.

python -m benchmarks.answers
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.results import record

CASES = {
    "python train.py --cfg job": (1.0, 0),
    "python train.py --help": (1.3, 0),
    "python train.py trainer.max_epoch=3": (1.3, 2),
}
RUNS = 11


def seconds(command: list[str], code: int) -> float:
    """One run of a command as a process; it has to end with the code."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    return time.perf_counter() - started


def main() -> None:
    table = ["| command | median s | target | least | most |", "|---|---|---|---|---|"]
    for text, (target, code) in CASES.items():
        command = [sys.executable, *text.split()[1:]]
        times = [seconds(command, code) for _ in range(RUNS)]
        row = [statistics.median(times), target, min(times), max(times)]
        table.append(f"| `{text}` | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    record("answers", "Answers of the command line", "python -m benchmarks.answers", table)


if __name__ == "__main__":
    main()
