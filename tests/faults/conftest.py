"""What the trials of this process came to is kept where `python -m tests.faults` reads it."""

import json
import os
from pathlib import Path

import pytest

from tests.faults.trials import TALLY


def pytest_sessionfinish(session: pytest.Session) -> None:
    folder = os.environ.get("ATTNLAB_FAULTS_TALLY")
    if folder and TALLY:
        (Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(TALLY))
