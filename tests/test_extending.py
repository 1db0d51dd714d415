"""Every example of docs/extending.md is run: its files are written, its commands are called."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnlab.cli import main
from attnlab.config.section import SLOTS, load_kinds
from attnlab.stages.run_start import FOLDER_VARIABLE
from attnlab.training.history import read
from tests.commands import REPOSITORY, SHORT_DATES, short_answers

PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {
    title: text
    for title, _, text in (section.partition("\n") for section in PAGE.split("\n## ")[1:])
    if "```python" in text
}
SMALL = [
    "model.dim=16",
    "trainer.batches.size=16",
    "trainer.max_epochs=1",
    "trainer.progress=false",
    "logger=files",
]
FEW = {"dataset=files": [], "": ["dataset.train=64", "dataset.val=16", "dataset.test=16"]}
REVIEWS = "\n\n".join(
    f"text: film {number} was {'good' if number % 2 else 'bad'}\nlabel: {number % 2}"
    for number in range(100)
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder; what its files register is forgotten afterwards."""
    load_kinds()
    before = {slot: dict(base.choices) for slot, base in SLOTS.items()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    (tmp_path / "reviews.txt").write_text(REVIEWS)
    yield tmp_path
    for slot, kinds in before.items():
        SLOTS[slot].choices.clear()
        SLOTS[slot].choices.update(kinds)
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("title", SECTIONS)
def test_example(title: str, folder: Path) -> None:
    text = SECTIONS[title]
    for block in blocks(text, "python") + blocks(text, "yaml"):
        path = folder / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    [command] = blocks(text, "bash")
    program, *words = shlex.split(command.replace("\\\n", " "))
    if program == "python":
        few = FEW["dataset=files" if "dataset=files" in words else ""]
        own = any(word.startswith("logger=") for word in words)
        small = [word for word in SMALL if not (own and word == "logger=files")]
        assert main(["train", *short_answers(words), *words[1:], *small, *few]) == 0
        assert list(folder.glob("runs/*/*/report.html"))
    else:
        assert main(["train", SHORT_DATES, *SMALL, *FEW[""], "stages=[train]"]) == 0
        [run] = folder.glob("runs/*/*")
        assert main([str(run) if word == "RUN" else word for word in words]) == 0


def test_a_logger_is_shown_figures_maps_and_the_end(folder: Path) -> None:
    test_example("A logger", folder)
    [path] = folder.glob("runs/*/*/log.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["config"]["model.dim"] == 16
    assert any("val/exact_match" in line for line in lines)
    shown = [line for line in lines if "pictures" in line]
    assert [line["step"] is None for line in shown] == [False, True]
    assert shown[0]["pictures"][0].startswith("val/maps/")
    [summary] = [line["summary"] for line in lines if "summary" in line]
    assert "test/attention/mass_on_gold" in summary
    assert lines[-1] == {"ended": "well"}


def test_a_callback_logs_beside_the_figures(folder: Path) -> None:
    test_example("A callback", folder)
    [path] = folder.glob("runs/*/*/history/weights.csv")
    assert [row["step"] for row in read(path)] == ["2", "4"]


def test_a_task_with_its_loss_and_metric_is_short() -> None:
    [code] = blocks(SECTIONS["A task, with its loss and metric"], "python")
    assert len(code.splitlines()) < 100


def test_every_slot_of_the_page_is_there() -> None:
    used = set(re.findall(r'@register\("(\w+)"', PAGE))
    assert used <= SLOTS.keys()
    assert {
        "score",
        "normalizer",
        "structure",
        "position",
        "heads",
        "task",
        "term",
        "stage",
        "optimizer",
        "callback",
        "logger",
    } <= used
