"""The tutorial, as its reader does it: each block in its turn, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from attnlab.cli import main
from attnlab.stages.run_start import FOLDER_VARIABLE
from tests.commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    said = ""
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "tutorial", "exec"), {})
        elif language == "yaml":
            path = tmp_path / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
            proposed = said.partition("my_conf/dataset/mails.yaml\n")[2].partition("\n\n")[0]
            assert yaml.safe_load(text) == yaml.safe_load(proposed)
        elif language == "bash":
            for line in text.splitlines():
                assert main(shlex.split(line)[1:]) == 0, line
            said = capsys.readouterr().out
        else:  # what the command before prints
            assert text in said
    [run] = [path.parent for path in tmp_path.glob("runs/mails-*/*/metrics.json")]
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["answer"]["accuracy"] > 0.95
    assert figures["attention"]["mass_on_gold"] > figures["controls"]["uniform"]["mass_on_gold"]
    assert len(list(tmp_path.glob("runs/leaderboards/*/leaderboard.html"))) == 2
    assert (run / "trust.json").is_file()
    assert (run / "report.html").is_file()
