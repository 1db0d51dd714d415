"""`attnlab.train` and `attnlab.load`, and docs/python.md, whose snippets run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import attnlab
from attnlab.errors import ConfigError, UserError
from tests.commands import REPOSITORY, small


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> attnlab.TrainedRun:
    return attnlab.train(small(tmp_path_factory.mktemp("dates")))


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> attnlab.TrainedRun:
    folder = tmp_path_factory.mktemp("reviews")
    return attnlab.train(small(folder, "experiment=reviews", "stages=[prepare,train]"))


def test_snippets_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets:
        made_small = snippet.replace('["trainer.max_epochs=1"]', repr(small(tmp_path)))
        exec(compile(made_small, "docs/python.md", "exec"), names)
    assert (tmp_path / "map.png").is_file()


def test_a_loaded_run_answers_as_the_trained_one(dates: attnlab.TrainedRun) -> None:
    loaded = attnlab.load(dates.folder)
    assert loaded.config == dates.config
    for one, other in zip(dates.predict("val", limit=3), loaded.predict("val"), strict=False):
        assert one.text == other.text
        np.testing.assert_allclose(one.map, other.map, atol=1e-5)


def test_an_answer_shows_its_map(dates: attnlab.TrainedRun) -> None:
    (answer,) = answers = dates.predict("3 May 2004")
    assert "".join(answer.rows) == answer.text
    np.testing.assert_allclose(answer.map.sum(1), 1, atol=1e-4)
    axes = answer.show().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == answer.rows
    assert "data:image/png;base64," in answers._repr_html_()


def test_n_best_labels_with_their_probabilities(reviews: attnlab.TrainedRun) -> None:
    first, _ = reviews.predict(["a great film", {"text": "dull and long"}], n_best=2)
    (second,) = first.others
    assert first.score + second.score == pytest.approx(1, abs=1e-4)
    assert first.rows == [first.text] and first.keys == ["a", "great", "film"]


def test_a_question_about_a_picture_given_as_an_array(tmp_path: Path) -> None:
    words = ["experiment=questions", "stages=[prepare,train]", "trainer.max_epochs=1"]
    run = attnlab.train(small(tmp_path, *words))
    example = run.prepared.examples("test")[0]
    (known,) = run.predict("test", limit=1)
    question = example.inputs["question"]
    assert isinstance(question, list)
    given = {"image": example.inputs["image"], "question": " ".join(map(str, question))}
    (answer,) = run.predict([given])
    assert answer.text == known.text
    np.testing.assert_allclose(answer.map, known.map, atol=1e-5)
    assert answer.show().axes
    with pytest.raises(UserError, match="input 1: no 'image' given"):
        run.predict({"question": "what?"})
    with pytest.raises(
        UserError, match=r"'image' is a picture: a file or an array is needed; a\.png: No such"
    ):
        run.predict({"image": "a.png", "question": "what?"})


def test_explanations_name_decisions_and_units(reviews: attnlab.TrainedRun) -> None:
    (why,) = reviews.explain("a great film", methods=["attention", "leave_one_out"])
    assert why.keys == ["a", "great", "film"] and why.rows == [why.text]
    assert {name: scores.shape for name, scores in why.scores.items()} == {
        "attention": (1, 3),
        "leave_one_out": (1, 3),
    }
    assert len(reviews.explain("val", methods=["attention"], limit=5)) == 5


def test_other_figures_go_to_a_folder_of_their_own(dates: attnlab.TrainedRun) -> None:
    before = dates.figures
    val = dates.evaluate(split="val")
    assert val["answer"].keys() == before["answer"].keys()
    assert dates.figures == before
    assert (dates.folder / "evaluations" / "split=val" / "metrics.json").is_file()
    assert "exact_match" in dates._repr_html_()


def test_a_run_that_was_not_evaluated_says_so(reviews: attnlab.TrainedRun) -> None:
    assert reviews.figures == {}
    with pytest.raises(UserError, match=r"not evaluated; try: run.evaluate\(\)"):
        reviews.show()


def test_mistakes_are_errors_of_one_line(reviews: attnlab.TrainedRun) -> None:
    with pytest.raises(ConfigError, match=r"model.dimm: unknown key; did you mean"):
        attnlab.train("+model.dimm=3")
    with pytest.raises(UserError, match="hparams: a search starts processes"):
        attnlab.train(["hparams=lr"])
    with pytest.raises(UserError, match="not a run's folder"):
        attnlab.load("nowhere")
    with pytest.raises(UserError, match="'text' is empty"):
        reviews.predict(["fine", ""])
    with pytest.raises(UserError, match="input 1: no 'txt'; did you mean 'text'"):
        reviews.predict({"txt": "fine"})
    with pytest.raises(UserError, match="methods: no 'shapp'; did you mean 'shap'"):
        reviews.explain("fine", methods=["shapp"])  # type: ignore[list-item]
