"""The next character of Shakespeare: a Transformer of 0.8 million parameters, minute by minute.

    python -m benchmarks.language --data ../shared/data

Two threads; run it on a machine that does nothing else. The run is kept in runs/benchmarks.
"""

from __future__ import annotations

import argparse
import math

from attnlab.training.history import read
from benchmarks.results import record
from benchmarks.runs import RUNS, Training, origin, verdict

NANO_GPT, MINUTES = 1.88, 6.0  # nats a character that its setting for a CPU reaches; the limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder that holds tinyshakespeare")
    words = ("experiment=tinyshakespeare", f"paths.data={parser.parse_args().data}")
    run = Training(RUNS / "language" / "tinyshakespeare", words)
    run.run(threads=2)
    figures = run.figures()
    minutes = figures["cost"]["train_seconds"] / 60
    validated = read(run.folder / "history" / "val.csv")
    steps = [int(row["step"]) for row in validated]
    best = min(float(row["loss"]) for row in validated)
    lines = ["| steps | minutes | validation, nats a character | bits |", "|---|---|---|---|"]
    for step, row in zip(steps, validated, strict=True):
        loss, spent = float(row["loss"]), minutes * step / steps[-1]
        lines.append(f"| {step:,} | {spent:.1f} | {loss:.3f} | {loss / math.log(2):.3f} |")
    test = figures["answer"]["bits_per_unit"] * math.log(2)
    lines += [
        "",
        f"Test: {test:.3f} nats a character. nanoGPT's setting for a CPU reaches {NANO_GPT} in "
        f"validation: {verdict(NANO_GPT, best, less_is_better=True)}; at most {MINUTES:g} minutes: "
        f"{verdict(MINUTES, minutes, less_is_better=True)}. "
        f"{figures['cost']['parameters']:,} parameters; minutes include validation, and are "
        "those of the whole training by steps.",
    ]
    title = "Language models: the next character of Shakespeare"
    command = "python -m benchmarks.language --data ../shared/data"
    record("language", title, command, lines, origin([run]))


if __name__ == "__main__":
    main()
