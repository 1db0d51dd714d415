"""Every benchmark, one after the other: `make bench`. The longest trains for hours.

python -m benchmarks                     # all
python -m benchmarks answers overhead    # some, by the name of their file
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NOT_ALONE = ("__init__", "__main__", "results", "runs", "tables")  # what benchmarks share
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_ALONE)


def main() -> int:
    """Each in a process of its own, so that none meets what another left in memory."""
    parser = argparse.ArgumentParser(description="Every benchmark, written to docs/results.md.")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []])
    failed = []
    for name in parser.parse_args().names or NAMES:
        print(f"== benchmarks.{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
