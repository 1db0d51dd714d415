"""`attnlab label`: examples chosen, filled in by hand, and read back by training."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from attnlab.cli import main
from attnlab.data.annotations import annotated
from attnlab.data.supervision import labelled, supervised
from attnlab.errors import UserError
from attnlab.stages.label import affordable
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import open_run
from tests.runs import SHORT, ran

FEW = ("stages=[prepare,train]", "model.dim=8", "dataset.train=32", "dataset.val=8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("experiment=reviews", *SHORT, *FEW, "dataset.test=4", "dataset.supervision=0.2")
    return ran(tmp_path_factory.mktemp("labelled"), *words)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("way", ["maps", "core_set", "random"])
def test_examples_without_a_map_are_chosen(run: Path, way: str, tmp_path: Path) -> None:
    output = tmp_path / "lines.jsonl"
    words = ["--by", way, "--count", "5", "--output", str(output)]
    assert main(["label", str(run), *words]) == 0
    found = lines(output)
    assert len({line["id"] for line in found}) == 5
    prepared, config = prepared_data(open_run(run).config), open_run(run).config
    seen = supervised(prepared.examples("train"), config.dataset.supervision, "gold")
    known = {e.id for e in seen if e.target is not None and e.target.query_mask.any()}
    assert known and known.isdisjoint(line["id"] for line in found)
    worth = [line["worth"] for line in found]
    assert worth == sorted(worth, reverse=True)
    filled = {**found[0], "map": [[1, 2]]}
    output.write_text("".join(f"{json.dumps(line)}\n" for line in (filled, *found[1:])))
    learned = {example.id: example for example in annotated(seen, output, "label")}
    assert len(learned) == 32
    target = learned[filled["id"]].target
    assert target is not None and target.weights.nonzero()[1].tolist() == [1, 2]
    assert target.query_mask.all()


def test_new_texts_are_chosen_and_become_training_examples(run: Path, tmp_path: Path) -> None:
    pool, output = tmp_path / "pool.txt", tmp_path / "lines.jsonl"
    pool.write_text("a great film\nthe plot was dull\na film\n")
    words = ["--by", "entropy", "--count", "2", "--input", str(pool), "--output", str(output)]
    assert main(["label", str(run), *words]) == 0
    found = lines(output)
    assert [line["answer"] for line in found] == [None, None]
    filled = [line | {"answer": "positive", "map": [[0]]} for line in found]
    output.write_text("".join(f"{json.dumps(line)}\n" for line in filled))
    prepared = prepared_data(open_run(run).config)
    learned = annotated(prepared.examples("train"), output, "label")
    assert len(learned) == 34 and learned[33].answer == "positive"
    item = prepared.codec.encode(learned[33], 33)
    assert item.target is not None and item.target.weights.tolist()[0][0] == 1


def test_time_goes_to_what_teaches_most_a_second() -> None:
    assert affordable([0, 1, 2, 3], [9.0, 8.0, 3.0, 1.0], [40, 10, 10, 5], 25) == [1, 2, 3]
    assert affordable([2, 0, 1], [0.0] * 3, [30, 30, 30], 70) == [2, 0], "in their order"
    with pytest.raises(UserError, match="--minutes: not enough for one example"):
        affordable([0], [1.0], [40], 39)


def test_a_second_round_asks_for_what_the_first_one_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file asks for labels that training withholds, and does not contain them."""
    words = ("experiment=reviews", *SHORT, *FEW, "dataset.test=4", "dataset.supervision=0")
    first = tmp_path / "first.jsonl"
    first.write_text(
        '{"id": "train-0", "map": [[0]]}\n{"id": "train-1", "answer": "positive", "map": [[0]]}\n'
    )
    known = (f"dataset.annotations={first}", "dataset.labelled=0.3")
    run, output = ran(tmp_path, *words, *known), tmp_path / "second.jsonl"
    examples = labelled(prepared_data(open_run(run).config).examples("train"), 0.3)
    withheld = {e.id for e in examples if e.answer is None}
    assert 10 < len(withheld) < 30
    assert main(["label", str(run), "--by", "random", "--output", str(output)]) == 0
    found = {line["id"]: line for line in lines(output)}
    assert "train-1" not in found and len(found) in (30, 31)
    assert {name for name, line in found.items() if line["answer"] is None} == (
        withheld - {"train-1"}
    )
    cost = sum(10 * (name in withheld) + 30 * (name != "train-0") for name in found)
    assert f"about {cost / 60:.0f} minutes" in capsys.readouterr().out
    few = ["--minutes", "2", "--by", "entropy", "--map-seconds", "50"]
    assert main(["label", str(run), *few, "--output", str(tmp_path / "few.jsonl")]) == 0
    names = [line["id"] for line in lines(tmp_path / "few.jsonl")]
    taken = [10 * (name in withheld) + 50 * (name != "train-0") for name in names]
    assert taken and 60 < sum(taken) <= 120


def test_the_command_serves_its_page_until_ctrl_c(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "lines.jsonl"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["label", str(run), "--count", "2", "--output", str(output)]
    pages = []

    def visit() -> None:
        end = time.monotonic() + 60
        while not pages and time.monotonic() < end:
            with contextlib.suppress(OSError):
                pages.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode())
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of tests ignore it
    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        assert main([*words, "--page", "--port", str(port)]) == 0
    finally:
        visitor.join()
        signal.signal(signal.SIGINT, before)
    ids = [line["id"] for line in lines(output)]
    assert all(f'"id": "{name}"' in pages[0] for name in ids)
    assert f"0 of 2 have a map\n{output}\n" in capsys.readouterr().out
    assert main(words) == 2
    message = f"--output: {output} exists; try: --page to go on with it, or another --output"
    assert message in capsys.readouterr().err


def test_wrong_words_are_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--by", "entropie"], "no 'entropie'; did you mean 'entropy'"),
        (["--count", "0"], "--count: 0 is not above 0"),
        (["nowhere"], "nowhere: not a run's folder"),
    ):
        assert main(["label", str(run), *words]) == 2
        assert message in capsys.readouterr().err
