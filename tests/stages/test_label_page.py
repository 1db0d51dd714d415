"""The page of `attnlab label --page` in a real browser: marks, undo, reload, refusals."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnlab.config.compose import load
from attnlab.data.annotations import annotated
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.stages.label_page import LabelFile, LabelServer
from tests.report.browser import MISSING, Browser, available, started

NEEDS_BROWSER = pytest.mark.skipif(not available(), reason=MISSING)
WORDS = [
    Example("train-0", {"text": ["a", "great", "little", "film"]}, "good"),
    Example("train-1", {"text": ["<b>dull</b>", "film"]}, "bad"),
]
PAIRS = [Example("train-0", {"text": ["ein", "Hund"]}, ["a", "dog"])]


def examples_of(dataset: str) -> tuple[list[Example], str]:
    """Two training examples of a generator, and the form of their answers."""
    config, _ = load([f"experiment={dataset}", "dataset.train=2", "dataset.val=1"])
    examples = list(config.dataset.build().examples("train"))
    return examples, config.dataset.answer_form


@contextmanager
def served(folder: Path, examples: list[Example], form: str) -> Iterator[LabelServer]:
    """A page for all of them."""
    path = folder / "to_label.jsonl"
    if not path.exists():
        lines = [{"id": e.id, "answer": e.answer, "map": None} for e in examples]
        path.write_text("".join(f"{json.dumps(line, default=str)}\n" for line in lines))
    file = LabelFile(path, {e.id: e for e in examples}, Codec.fit(examples, form))
    server = LabelServer(file, 0, "python train.py")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def written(server: LabelServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.file.path.read_text().splitlines()]


def wait_saved(window: Browser, part: str = "· saved") -> None:
    window.wait(f"document.getElementById('saved').textContent.includes('{part}')")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def press(window: Browser, *keys: str) -> None:
    """Keys by their names in a page; each has been dealt with when this returns."""
    for key in keys:
        window.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))", key)


@NEEDS_BROWSER
def test_words_are_marked_by_keys_and_nothing_is_lost(window: Browser, tmp_path: Path) -> None:
    with served(tmp_path, WORDS, "label") as server:
        window.visit(server.address)
        window.press(" ")  # real keys
        window.press("2")
        press(window, "ArrowRight", "ArrowRight", " ")
        wait_saved(window)
        window.wait("data.lines[0].map[0].length === 2")
        press(window, "u")
        press(window, "j", "n")
        window.wait("document.getElementById('progress').textContent === '2 of 2 labelled'")
        window.wait("localStorage.length === 0")  # all changes were answered
        first, second = written(server)
        assert (first["answer"], first["map"]) == ("good", [[0]]), "2 chose the second class"
        assert second["map"] == [[]]
        assert first["seconds"] >= 0
        assert window.run("return document.querySelector('#board b')") is None
        server.file.lines[1]["map"] = None
        window.visit(server.address)  # as after a reload
        assert window.run("return data.lines[0].map") == [[0]]
        assert window.run("return at") == 1, "the first that is open"
        assert not window.problems()
    learned = list(annotated(WORDS, tmp_path / "to_label.jsonl", "label"))
    assert learned[0].target is not None
    assert learned[0].target.weights.tolist() == [[1, 0, 0, 0]]
    with served(tmp_path, WORDS, "label") as server:  # the command is started again
        assert server.file.labelled == 2


@NEEDS_BROWSER
def test_a_change_that_cannot_be_saved_is_kept_in_the_browser(
    window: Browser, tmp_path: Path
) -> None:
    with served(tmp_path, WORDS, "label") as server:
        window.visit(server.address)
        path = server.file.path
        server.file.path = tmp_path / "nowhere" / "file.jsonl"
        press(window, " ")
        wait_saved(window, "not saved")
        assert any("400" in problem for problem in window.problems())
        server.file.path = path
        server.file.lines[0]["map"] = None
        window.visit(server.address)
        wait_saved(window)
        assert written(server)[0]["map"] == [[0]]


@NEEDS_BROWSER
def test_rows_of_an_alignment(window: Browser, tmp_path: Path) -> None:
    with served(tmp_path, PAIRS, "units") as server:
        window.visit(server.address)
        press(window, " ", "]", "ArrowRight", " ")
        window.wait("localStorage.length === 0")
        assert written(server)[0]["map"] == [[0], [1]]
        labels = "return [...document.querySelectorAll('#rows button')].map((b) => b.textContent)"
        assert window.run(labels) == ["a", "dog"]


@NEEDS_BROWSER
def test_boxes_in_a_picture(window: Browser, tmp_path: Path) -> None:
    examples, form = examples_of("canvas_classify")
    with served(tmp_path, examples, form) as server:
        window.visit(server.address)
        box = "const b = document.querySelector('#board svg').getBoundingClientRect();"
        left, top, size = window.run(f"{box} return [b.left, b.top, b.width]")
        height, width = np.asarray(examples[0].inputs["image"]).shape[1:]
        scale = size / width
        window.drag(
            (left + 2.5 * scale, top + 3.5 * scale), (left + 6.5 * scale, top + 8.5 * scale)
        )
        window.wait("localStorage.length === 0 && data.lines[0].map !== null")
        assert written(server)[0]["map"] == [[{"box": [2, 3, 7, 9]}]]
        press(window, "j", " ", "ArrowRight", "ArrowDown", " ")  # by keys
        window.wait("localStorage.length === 0")
        step = max(round(width / 40), 1)
        assert written(server)[1]["map"] == [[{"box": [0, 0, 1 + step, 1 + step]}]]
    target = next(iter(annotated(examples, tmp_path / "to_label.jsonl", form))).target
    assert target is not None
    marked = target.weights.reshape(height, width)
    assert marked[3:9, 2:7].all() and marked.sum() == 30


@NEEDS_BROWSER
def test_times_of_a_sound(window: Browser, tmp_path: Path) -> None:
    examples, form = examples_of("tones")
    with served(tmp_path, examples, form) as server:
        window.visit(server.address)
        press(window, " ", "ArrowRight", " ")
        window.wait("localStorage.length === 0 && data.lines[0].map !== null")
        (spans,) = (row for row in written(server)[0]["map"] if row)
        assert spans[0]["span"][0] == 0 < spans[0]["span"][1]
        sound = "return document.querySelector('audio').src.slice(0, 22)"
        assert window.run(sound) == "data:audio/wav;base64,"
        window.wait("document.querySelector('audio').readyState > 0")  # it can be played
        assert not window.problems()


def post(server: LabelServer, content: object, **headers: str) -> tuple[int, str]:
    """Status and text of the answer to a change of the first line."""
    request = urllib.request.Request(f"{server.address}lines/0", json.dumps(content).encode())
    for name, value in ({"X-Attnlab-Token": server.token} | headers).items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_training_would_refuse_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, WORDS, "label") as server:
        before = server.file.path.read_text()
        message = "dataset.annotations: train-0: map.0: no key 4; allowed: 0 to 3"
        assert post(server, {"map": [[4]]}) == (400, message)
        assert post(server, {"map": "x"})[0] == 400
        assert post(server, [1])[0] == 400
        assert post(server, {"answer": 3}) == (
            400,
            "dataset.annotations: train-0: answer 3 is none of form 'label'",
        )
        assert post(server, {"map": [[0]]}, X_Attnlab_Token="guessed")[0] == 403
        assert post(server, {"map": [[0]]}, Host="example.org")[0] == 403
        assert server.file.path.read_text() == before
        assert post(server, {"map": [[0]], "id": "other"})[0] == 200
        assert written(server)[0]["id"] == "train-0", "marks can be changed, and nothing else"
