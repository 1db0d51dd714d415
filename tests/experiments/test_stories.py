"""Questions about stories, from the text file to the report; and what bAbI's own files teach."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from attnlab.stages import predict
from tests.datasets.readers.files import shared, whole, write
from tests.runs import figures, ran, shown

PEOPLE, PLACES = ("Mary", "John", "Ann"), ("garden", "kitchen", "hall")


def story_lines(stories: int) -> list[str]:
    """Lines as bAbI has them: who has the ball, and where that one went last."""
    drawn, lines = random.Random(0), []
    for _ in range(stories):
        places = {name: drawn.choice(PLACES) for name in PEOPLE}
        lines += [f"{i} {name} went to the {places[name]}." for i, name in enumerate(PEOPLE, 1)]
        holder = drawn.choice(PEOPLE)
        facts = f"4 {PEOPLE.index(holder) + 1}"
        lines += [f"4 {holder} took the ball.", f"5 Where is the ball?\t{places[holder]}\t{facts}"]
    return lines


def test_a_story_runs_from_its_lines_to_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "story.txt", *story_lines(24))
    small = ["model.dim=16", "trainer.max_epochs=1", f"dataset.folder={tmp_path}"]
    run = ran(tmp_path, "experiment=babi_qa2", whole("story.txt"), *small)
    found, example = figures(run), shown(run)
    assert {"loss", "accuracy"} <= set(found["answer"])
    assert found["controls"]["oracle"]["mass_on_gold"] == pytest.approx(1)
    assert found["controls"]["uniform"]["mass_on_gold"] == pytest.approx(1 / 4)
    assert example["queries"] == ["hop 1", "hop 2"]
    assert example["keys"][3].endswith("took the ball .")
    assert example["gold_map"][0] == [0, 0, 0, 1]
    assert sum(example["gold_map"][1]) == 1
    assert example["context"] == {"question": "where is the ball ?"}
    assert (run / "maps" / f"{example['id']}.png").stat().st_size > 1000
    asked = {"story": ["Ann went to the hall.", "Ann took the ball."], "question": "Where is she?"}
    write(tmp_path / "own.jsonl", json.dumps(asked))
    predict.main([str(run), "--input", str(tmp_path / "own.jsonl"), "--output", "-"])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["inputs"]["text"][1] == ["ann", "took", "the", "ball", "."]
    (said, *_) = line["predictions"]
    assert said["answer"] in PLACES
    assert [len(row) for row in said["map"]] == [2, 2], "two hops over two sentences"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "accuracy", "mass"), [("babi_qa1", 0.99, 0.95), ("babi_qa2", 0.85, 0.9)]
)
def test_the_facts_are_found_and_the_question_answered(
    experiment: str, accuracy: float, mass: float, tmp_path: Path
) -> None:
    found = figures(ran(tmp_path, f"experiment={experiment}", f"paths.data={shared('babi')}"))
    assert found["answer"]["accuracy"] >= accuracy
    assert found["attention"]["mass_on_gold"] >= mass
