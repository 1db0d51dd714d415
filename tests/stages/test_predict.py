"""`attnlab predict RUN`, as a user would run it."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnlab.cli import main
from attnlab.config.compose import load
from attnlab.data.annotations import annotated
from attnlab.data.example import Example
from attnlab.stages import train
from attnlab.stages.predictions import PredictedAnswer, as_rows
from attnlab.stages.requests import Request
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun
from tests.commands import REPOSITORY
from tests.runs import PLAIN, SHORT, figures, ran, train_small


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dates")
    words = ["stages=[prepare,train]", f"paths.run={folder / 'run'}"]
    train_small(folder, *words)
    return folder / "run"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that translates words, cut into pieces: each is written backwards."""
    folder = tmp_path_factory.mktemp("pairs")
    texts = [f"word{i % 7} and other{i % 5}" for i in range(60)]
    (folder / "a.txt").write_text("".join(f"{text}\n" for text in texts))
    (folder / "b.txt").write_text("".join(f"{text[::-1]}\n" for text in texts))
    dataset = ["dataset=files", "dataset/reader=lines", "dataset/answer=text"]
    dataset += ["dataset/tokenizer=bpe", "dataset.tokenizer.size=40", f"dataset.folder={folder}"]
    dataset += ["dataset.splits.train={text: a.txt, to: b.txt}", "dataset.answer.column=to"]
    words = ["objective=unsupervised", "metrics.figures=[]", "stages=[prepare,train]"]
    return ran(folder, *dataset, *words, *SHORT, "model.dim=16")


def predict(folder: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """In this process: starting one takes longer than all that it does."""
    output, errors, own_input = StringIO(), StringIO(), sys.stdin
    command = ["predict", str(folder), *words]
    sys.stdin = StringIO(typed)
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            code = main(command)
    finally:
        sys.stdin = own_input
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_answers_are_written_as_annotations(pairs: Path, tmp_path: Path) -> None:
    """A student is trained on them: in the units of the data, example by example."""
    trained = TrainedRun(open_run(pairs))
    file = tmp_path / "taught.jsonl"
    words = ("--split", "train", "--as-annotations", "--decoding", "beam", "--output", str(file))
    assert predict(pairs, *words).returncode == 0
    taught = lines(file.read_text())
    examples = trained.prepared.examples("train")
    assert [line["id"] for line in taught] == [example.id for example in examples]
    assert all(set(line) == {"id", "answer"} for line in taught)
    learned = list(annotated(examples, file, "units"))
    said = lines(predict(pairs, "--split", "train", "--decoding", "beam", "--output", "-").stdout)
    for example, line in zip(learned, said, strict=True):
        assert isinstance(example.answer, list)
        assert " ".join(example.answer) == line["predictions"][0]["answer"]
        trained.prepared.codec.encode(example, 0)


def test_rows_of_a_file_are_written_with_answers_for_texts(pairs: Path, tmp_path: Path) -> None:
    """What else a row holds stays; a row whose answer has no words is left out."""
    texts = ["one two", "", "two three one"]
    rows = [{"text": text, "label": f"l{i}", "n": [i]} for i, text in enumerate(texts)]
    file, again = tmp_path / "train.jsonl", tmp_path / "train_again.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = predict(pairs, "--input", str(file), "--as-rows", "--output", str(again))
    assert done.returncode == 0, done.stderr
    assert "1 rows could not be read; they are left out" in done.stderr
    said = lines(predict(pairs, "--input", str(file), "--output", "-").stdout)
    answers = [line["predictions"][0]["answer"] for line in said if "predictions" in line]
    expected = [{**rows[i], "text": a} for i, a in zip((0, 2), answers, strict=True) if a]
    assert lines(again.read_text()) == expected

    codec, example = TrainedRun(open_run(pairs)).prepared.codec, Example("x", {"text": ["one"]}, [])
    request = Request("x", example, row=rows[0], column="text")
    made = [PredictedAnswer(a, None, np.ones((1, 1), np.float32), [], []) for a in ("a b", "", "c")]
    found = list(as_rows(request, made, codec))
    assert found == [{**rows[0], "text": "a b"}, {**rows[0], "text": "c"}]
    refused = predict(pairs, "--as-rows", "--output", "-")
    assert refused.returncode == 2 and "is no row of a file; try: --input FILE" in refused.stderr


@pytest.mark.slow
def test_texts_are_said_in_other_words_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands, there and back between dates and ISO dates, with small models."""
    monkeypatch.chdir(tmp_path)
    dates = list(load(["dataset=dates", "dataset.locales=[en]"])[0].dataset.build().examples("val"))
    rows = [{"text": "".join(e.inputs["text"]), "other": "".join(e.answer)} for e in dates]
    folder = tmp_path / "my" / "folder"
    folder.mkdir(parents=True)
    labelled = [{"text": row["text"], "label": row["other"][5:7]} for row in rows]
    files = {"pairs": rows[:60], "train": labelled[60:80], "val": labelled[80:100]}
    for name, some in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    page = (REPOSITORY / "docs" / "few_labels.md").read_text(encoding="utf-8")
    block = page.partition("back-translation")[2].partition("`val.jsonl`:\n\n")[2]
    commands = block.partition("\n\n`--as-rows`")[0].replace("\\\n", " ").splitlines()
    small = [*PLAIN, "dataset.words.split=characters", "model.dim=8", "trainer.max_epochs=1"]
    small += ["metrics.figures=[]", f"paths.runs={tmp_path / 'runs'}", "trainer.batches.size=8"]
    for command in (shlex.split(each) for each in commands):
        if command[0] == "attnlab":
            assert main(command[1:]) == 0
        else:
            words = [*command[2:], *small, "stages=[prepare,train]"]
            config, plain = load(words)
            train.main(config, plain, words)
    again = lines((folder / "train_again.jsonl").read_text())
    assert again and {row["label"] for row in again} <= {row["label"] for row in labelled}
    (run,) = {path.parent.resolve() for path in (tmp_path / "runs").glob("*/*/config.yaml")}
    count = len(TrainedRun(open_run(run)).prepared.examples("train"))
    assert 16 < count < 20 + len(again), "both files, and a fifth of their rows are the test"


def test_the_test_split_is_answered_with_maps(dates: Path) -> None:
    done = predict(dates)
    assert done.returncode == 0, done.stderr
    path = dates / "predictions.jsonl"
    assert done.stdout.strip() == str(path)
    found = lines(path.read_text())
    assert len(found) == 32
    for line in found:
        (best,) = line["predictions"]
        assert len(line["gold"]) == 10
        assert len(best["map"]) == len(best["answer"]) == len(best["alignment"].split())
        for row in best["map"]:
            assert len(row) == len(line["inputs"]["text"]) and sum(row) == pytest.approx(
                1, abs=0.01
            )


def test_texts_have_no_probability_to_be_calibrated(dates: Path) -> None:
    done = predict(dates, "--calibrated")
    assert done.returncode == 2 and "this task predicts no probabilities" in done.stderr


def test_lines_are_answered_in_their_order_with_the_best_of_a_beam(dates: Path) -> None:
    words = ["--input", "-", "--output", "-", "--n-best", "3", "--no-maps"]
    typed = "3 May 2004\n\n12 de marzo de 1999\n"
    done = predict(dates, *words, typed=typed)
    assert done.returncode == 0, done.stderr
    first, second, third = lines(done.stdout)
    assert second == {"id": "- row 2", "problem": "'text' is empty"}
    assert "1 rows could not be read; their lines say why" in done.stderr
    for line, text in ((first, "3 May 2004"), (third, "12 de marzo de 1999")):
        assert "".join(line["inputs"]["text"]) == text and "gold" not in line
        scores = [each["score"] for each in line["predictions"]]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert "map" not in line["predictions"][0]


def test_texts_of_the_command_line_are_answered_on_the_terminal(dates: Path) -> None:
    done = predict(dates, "3 May 2004", "12 de marzo de 1999", "--decoding", "beam", "size=2")
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert ["".join(line["inputs"]["text"]) for line in found] == [
        "3 May 2004",
        "12 de marzo de 1999",
    ]
    assert all(line["predictions"][0]["score"] < 0 for line in found)


def test_a_decoder_may_keep_some_of_its_keys(tmp_path: Path) -> None:
    words = [
        "dataset.length=12",
        "dataset.pairs=2",
        "model.dim=16",
        "stages=[prepare,train,evaluate]",
    ]
    counts = ["dataset.train=64", "dataset.val=8", "dataset.test=8", "task.max_length=9"]
    run = ran(tmp_path, "experiment=induction", *words, *counts, *SHORT)
    found = [
        lines(predict(run, "--split", "test", "--output", "-", "--limit", "2", *settings).stdout)
        for settings in (
            [],
            ["--eviction", "window", "budget=40"],
            ["--eviction", "window", "budget=5"],
        )
    ]
    every, enough, few = ([line["predictions"][0] for line in each] for each in found)
    assert every == enough != few
    assert main(["evaluate", str(run), "task/eviction=h2o", "task.eviction.budget=5"]) == 0
    (bounded,) = (run / "evaluations").iterdir()
    assert figures(bounded)["answer"]["perplexity"] != figures(run)["answer"]["perplexity"]
    assert figures(bounded)["attention"].keys() == figures(run)["attention"].keys()


def test_maps_of_pieces_are_over_words(pairs: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.jsonl"
    table.write_text('{"text": "word1 and other2"}\n{"text": "unheard of words"}\n')
    done = predict(pairs, "--input", str(table), "--output", "-", "--decoding", "beam", "size=4")
    assert done.returncode == 0, done.stderr
    for line in lines(done.stdout):
        assert len(line["inputs"]["text"]) == 3
        for each in line["predictions"]:
            assert len(each["map"]) == len(each["answer"].split())
            assert all(len(row) == 3 for row in each["map"])
            assert all(sum(row) == pytest.approx(1, abs=0.01) for row in each["map"])


def test_labels_come_with_their_chances(tmp_path: Path) -> None:
    words = ["experiment=reviews", "stages=[prepare,train]", f"paths.run={tmp_path / 'run'}"]
    train_small(tmp_path, *words)
    done = predict(tmp_path / "run", "--output", "-", "--n-best", "2", "--limit", "4")
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert len(found) == 4
    for line in found:
        assert sum(each["score"] for each in line["predictions"]) == pytest.approx(1, abs=1e-4)
        assert len({each["answer"] for each in line["predictions"]}) == 2
    words = ["--output", "-", "--n-best", "2", "--limit", "4", "--calibrated"]
    done = predict(tmp_path / "run", *words)
    assert done.returncode == 2 and "try: attnlab evaluate" in done.stderr
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    temperature = figures(tmp_path / "run")["calibration"]["temperature"]
    calibrated = lines(predict(tmp_path / "run", *words).stdout)
    for line, same in zip(found, calibrated, strict=True):
        odds, scaled = (log_odds(each["predictions"]) for each in (line, same))
        assert scaled == pytest.approx(odds / temperature, abs=0.02)
    assert (tmp_path / "run" / "panels" / "calibration.png").is_file()


def log_odds(predictions: list[dict[str, Any]]) -> float:
    return math.log(predictions[0]["score"] / predictions[1]["score"])


def test_what_somebody_has_is_not_recommended_where_nothing_comes_twice(tmp_path: Path) -> None:
    words = ["experiment=baskets", "task.repeats=false", "stages=[prepare,train]"]
    train_small(tmp_path, *words, f"paths.run={tmp_path / 'run'}")
    done = predict(tmp_path / "run", "--output", "-", "--n-best", "1000", "--limit", "20")
    assert done.returncode == 0, done.stderr
    for line in lines(done.stdout):
        had = set(line["inputs"]["items"])
        named = [each["answer"] for each in line["predictions"]]
        assert line["gold"] in named or line["gold"] in had
        assert len(set(named)) == len(named) > 1
        assert not had & set(named)
        assert not any(name.startswith("<") for name in named)


def test_a_reply_is_found_among_those_of_a_file_or_of_training(tmp_path: Path) -> None:
    words = ["experiment=support_retrieve", "stages=[prepare,train]"]
    train_small(tmp_path, *words, f"paths.run={tmp_path / 'run'}")
    replies = ["order 1 2 is on its way .", "we call you on friday .", "we call you on friday ."]
    (tmp_path / "replies.txt").write_text("".join(f"{reply}\n" for reply in replies))
    shown = ["--output", "-", "--n-best", "9", "--limit", "2"]
    done = predict(tmp_path / "run", "--replies", str(tmp_path / "replies.txt"), *shown)
    assert done.returncode == 0, done.stderr
    for line in lines(done.stdout):
        found = line["predictions"]
        assert {each["answer"] for each in found} == set(replies)
        assert len(found) == 2 and sum(each["score"] for each in found) == pytest.approx(
            1, abs=1e-4
        )
        assert len(found[0]["map"]) == 1 and sum(found[0]["map"][0]) == pytest.approx(1, abs=0.01)
    done = predict(tmp_path / "run", *shown)
    (first, _) = lines(done.stdout)
    assert len({each["answer"] for each in first["predictions"]}) == 9
    (tmp_path / "replies.txt").write_text("fine .\n\n")
    done = predict(tmp_path / "run", "--replies", str(tmp_path / "replies.txt"))
    assert done.returncode == 2
    assert f"--replies: {tmp_path / 'replies.txt'}:2: 'line' is empty" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--replies", "replies.txt"],
            "--replies: this run does not choose among texts; try it without",
        ),
        (
            ["--decoding", "baem"],
            "--decoding: no 'baem'; did you mean 'beam'? allowed: beam, greedy, sample",
        ),
        (["--decoding", "beam", "size=0"], "task.decoding.size: 0"),
        (["--eviction", "h20"], "--eviction: no 'h20'; did you mean 'h2o'? allowed: expected, "),
        (["--eviction", "h2o"], "task.eviction.kind: model 'recurrent' keeps no keys of what it"),
        (["--input", "nowhere.csv"], "--input: no file nowhere.csv; "),
    ],
)
def test_mistakes_are_one_line(dates: Path, words: list[str], message: str) -> None:
    done = predict(dates, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_column_that_is_not_there_is_named(dates: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("texts,other\n3 May 2004,1\n")
    done = predict(dates, "--input", str(table))
    assert done.returncode == 2
    assert f"--input: no column 'text' in {table.name}; did you mean 'texts'?" in done.stderr
