"""The fault suite: kills, full disks, hostile and damaged inputs, and the table of what came of it.

python -m tests.faults                 every trial; the table goes to docs/reliability.md
python -m tests.faults --share 0.05    a part, spread evenly; the table is printed alone
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.commands import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
MARKS = "<!-- outcomes -->", "<!-- end of outcomes -->"
Tables = dict[str, dict[str, Counter[str]]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--share", type=float, default=1.0, help="of the trials")
    parser.add_argument("--processes", default="2", help="side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = {"ATTNLAB_FAULTS": str(options.share), "ATTNLAB_FAULTS_TALLY": folder}
        command = [sys.executable, "-m", "pytest", "-m", "slow or not slow", "tests/faults"]
        command += ["-n", options.processes, "--timeout=10800"]
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | names, check=False)
        tables = summed(Path(folder))
    text = f"{options.share:.0%} of the trials were tried.\n\n{written(tables)}"
    print(text)
    if options.share == 1 and done.returncode == 0:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        PAGE.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}", encoding="utf-8")
        print(f"written to {PAGE.relative_to(REPOSITORY)}")
    return done.returncode


def summed(folder: Path) -> Tables:
    """What all processes counted."""
    tables: Tables = {}
    for path in sorted(folder.glob("*.json")):
        for table, rows in json.loads(path.read_text()).items():
            for row, columns in rows.items():
                tables.setdefault(table, {}).setdefault(row, Counter()).update(columns)
    return tables


def written(tables: Tables) -> str:
    """The tables in Markdown, with a row for all together."""
    parts = []
    for table in sorted(tables):
        rows = dict(sorted(tables[table].items()))
        columns = list(dict.fromkeys(c for counts in rows.values() for c in sorted(counts)))
        every = sum(rows.values(), Counter())
        lines = [[table, *columns], ["---", *["---:"] * len(columns)]]
        for name, counts in {**rows, "**all**": every}.items():
            lines.append([name, *(str(counts[column]) for column in columns)])
        parts += [*(f"| {' | '.join(cells)} |" for cells in lines), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
