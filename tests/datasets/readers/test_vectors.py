"""Word vectors, read or counted: what they say, who gets them, and what is said of bad ones."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attnlab.data.codec import Codec
from attnlab.data.vocabulary import SPECIAL, UNKNOWN, Vocabulary, WordVectors
from attnlab.datasets.readers.vectors import CountedVectors, VectorFile, near_pairs
from attnlab.datasets.readers.words import Wording
from attnlab.errors import ConfigError, UserError
from attnlab.tasks.task import build_model
from tests.datasets.readers.files import dataset, prepared, whole, write
from tests.forms import load_fitting

WORDING = Wording("spaces", lowercase=True)
PUBLISHED = "good 1 0 0.5\nbad -1 0 0.5\nNew York 0 3 1\n"


def of_file(path: Path, size: int | None = None) -> WordVectors:
    return VectorFile(path=str(path), size=size).known(list, WORDING)


@pytest.mark.parametrize("first", ["", "3 3\n"], ids=["as GloVe", "as word2vec"])
def test_a_published_file(tmp_path: Path, first: str) -> None:
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress((first + PUBLISHED.splitlines()[0] + " \n").encode()))
    found = of_file(path)
    assert found.words == ["good"]
    assert found.numbers.tolist() == [[1, 0, 0.5]]


def test_words_with_spaces_and_the_first_of_many(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(PUBLISHED, encoding="utf-8")
    assert of_file(path).words == ["good", "bad", "New York"]
    assert of_file(path, size=2).words == ["good", "bad"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "dataset.vectors.path: {} holds no vectors"),
        ("good\n", "{}, row 1: not a word and 2 numbers; a line is WORD 0.12 -0.3"),
        ("good 1 2 3\nbad 1 two 3\n", "{}, row 2: not a word and 3 numbers; a line is WORD "),
        ("good 1 2 3\nbad 1 nan 3\n", "{}, row 2: not a word and 3 numbers; a line is WORD "),
        ("good 1 2 3\nbad 1\n", "{}, row 2: not a word and 3 numbers; a line is WORD "),
    ],
    ids=["empty", "no numbers", "a word", "not finite", "short"],
)
def test_bad_files(tmp_path: Path, written: str, said: str) -> None:
    path = write(tmp_path / "vectors.txt")
    path.write_text(written, encoding="utf-8")
    with pytest.raises(UserError) as error:
        of_file(path)
    assert str(error.value).startswith(said.format(path))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"dataset\.vectors\.path: no file .*vektors\.txt"):
        VectorFile(path=str(Path(__file__).with_name("vektors.txt")), size=None).files()


def test_pairs_are_counted_by_distance_within_a_text() -> None:
    near = near_pairs([[0, 1, 2], [2, -1, 0]], words=3, window=2).toarray()
    assert near.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_words_of_one_kind_are_near() -> None:
    """Animals run and metals shine; which animal or metal it is says nothing."""
    animals, metals = ["cat", "dog", "hare"], ["gold", "tin", "iron"]
    texts = [["the", a, "runs", "home"] for a in animals] * 4
    texts += [["the", m, "shines", "bright"] for m in metals] * 4
    counted = CountedVectors(texts=[], dim=3, window=2, at_least=2, size=None)
    found = counted.known(lambda: texts, WORDING)
    again = counted.known(lambda: texts, WORDING)
    assert np.array_equal(found.numbers, again.numbers), "the same each time"
    of = dict(zip(found.words, found.numbers, strict=True))
    assert np.allclose(np.linalg.norm(found.numbers, axis=1), 1, atol=1e-5)
    assert of["cat"] @ of["dog"] > 0.9
    assert of["gold"] @ of["tin"] > 0.9
    assert of["cat"] @ of["gold"] < 0.5


def test_texts_without_labels_are_read_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("docs/1.txt", "A lone Lynx\n\na lone wolf\n")
        archive.writestr("docs/2.txt", "a lone Lynx and a wolf\n")
    counted = CountedVectors(
        texts=[f"{tmp_path}/more.zip/docs/*"], dim=2, window=2, at_least=2, size=None
    )
    assert set(counted.known(lambda: [["one", "wolf"]], WORDING).words) == {
        "a",
        "lone",
        "lynx",
        "wolf",
    }
    assert counted.files() == [tmp_path / "more.zip/docs/1.txt", tmp_path / "more.zip/docs/2.txt"]


def test_texts_that_are_not_there_can_be_done_without(tmp_path: Path) -> None:
    counted = CountedVectors(
        texts=[f"{tmp_path}/none/*.txt"], dim=2, window=2, at_least=2, size=None
    )
    with pytest.raises(UserError) as error:
        counted.files()
    assert str(error.value) == (
        f"dataset.vectors.texts: no folder {tmp_path}/none; put the data there, or try: "
        "paths.data=FOLDER, or dataset.folder=FOLDER; "
        "without more texts: dataset.vectors.texts=[]"
    )


def test_too_few_words(tmp_path: Path) -> None:
    counted = CountedVectors(texts=[], dim=9, window=2, at_least=2, size=None)
    with pytest.raises(UserError) as error:
        counted.known(lambda: [["a", "b"]] * 2, WORDING)
    assert str(error.value) == (
        "dataset.vectors.dim: 9 numbers for 2 words that occur 2 times; try: dataset.vectors.dim=2"
    )


def test_a_bad_line_of_a_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_bytes(b"fine\n\xff\xfe\n")
    counted = CountedVectors(
        texts=[str(tmp_path / "more.txt")], dim=2, window=2, at_least=1, size=None
    )
    with pytest.raises(UserError) as error:
        counted.known(list, WORDING)
    assert str(error.value) == f"{tmp_path}/more.txt, row 2: 'text' is not UTF-8"


def test_a_vocabulary_learns_what_words_mean() -> None:
    vocabulary = Vocabulary([*SPECIAL, "good", "film"])
    known = WordVectors(["bad", "</s>", "good"], np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    more = vocabulary.with_vectors(known)
    assert more.units == [*SPECIAL, "good", "film", "bad"]
    assert more.vectors is not None
    assert more.vectors[more.encode(["good", "bad"])].tolist() == [[5, 6], [1, 2]]
    nobody_knows = np.isnan(more.vectors).all(1)
    assert nobody_knows.tolist() == [True] * 4 + [False, True, False]
    assert vocabulary.encode(["bad"]) == [UNKNOWN]


@pytest.fixture
def vectors(tmp_path: Path) -> list[str]:
    """A dataset of two words, and vectors of one of them and of another."""
    write(tmp_path / "rows.csv", "text,label", *["good film,1", "film,0"] * 3)
    (tmp_path / "vectors.txt").write_text(PUBLISHED, encoding="utf-8")
    return [
        whole("rows.csv"),
        "dataset/vectors=file",
        f"dataset.vectors.path={tmp_path}/vectors.txt",
    ]


def table(model: nn.Module) -> torch.Tensor:
    (found,) = (m.weight.data for m in model.modules() if isinstance(m, nn.Embedding))
    return found


@pytest.mark.parametrize("kind", ["recurrent", "convolutional", "transformer"])
def test_embeddings_start_from_them(tmp_path: Path, vectors: list[str], kind: str) -> None:
    transformer = kind == "transformer"
    width = "model.dim=3" if transformer else "model.embedding_dim=3"
    attention = ["attention=scaled_dot"] if transformer else ["model.embedding_std=0.5"]
    given = [f"dataset.folder={tmp_path}", *vectors, f"model={kind}", "model.encoder_layers=1"]
    config, _ = load_fitting(["dataset=files", "task=classify", *given, width, *attention])
    codec = prepared(config.dataset, tmp_path).codec  # type: ignore[arg-type]
    assert isinstance(codec, Codec)
    words = codec.texts["text"]
    start = table(build_model(config, codec))
    assert start.shape == (len(words), 3)
    good, bad = start[words.encode(["good", "bad"])]
    assert (good / good[0]).tolist() == pytest.approx([1, 0, 0.5])
    assert (bad / good[0]).tolist() == pytest.approx([-1, 0, 0.5])
    spread = 3**-0.5 if transformer else 0.5
    known = start[words.encode(["good", "bad", "New York"])]
    assert known.square().mean().sqrt().item() == pytest.approx(spread, rel=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("model.embedding_dim=8", "model=recurrent"), "8; try: model.embedding_dim=3"),
        (("model.dim=8", "model=transformer"), "8; try: model.dim=3"),
        (("model.dim=8", "model=recurrent", "model.encoder_layers=0"), "8; try: model.dim=3"),
    ],
)
def test_vectors_of_another_width(
    more: tuple[str, ...], said: str, tmp_path: Path, vectors: list[str]
) -> None:
    """Known before anything is prepared."""
    given = [f"dataset.folder={tmp_path}", *vectors, *more]
    with pytest.raises(ConfigError) as error:
        load_fitting(["dataset=files", "task=classify", *given])
    assert f"dataset.vectors: 3 numbers a word, where the model has {said}" in str(error.value)


def test_other_vectors_make_other_data(tmp_path: Path, vectors: list[str]) -> None:
    said: list[str] = []
    prepared(dataset(tmp_path, *vectors), tmp_path, said)
    prepared(dataset(tmp_path, *vectors), tmp_path, said)
    assert said[1:] == ["  vectors: of 3 words, 50% of those in training"]
    (tmp_path / "vectors.txt").write_text(PUBLISHED.replace("0.5", "0.7"), encoding="utf-8")
    prepared(dataset(tmp_path, *vectors), tmp_path, said)
    assert len(said) == 4


@pytest.mark.parametrize(
    "other",
    [
        "dataset/tokenizer=characters",
        "dataset.tokenizer.digits=false",
        "dataset.tokenizer.joint=true",
    ],
)
def test_vectors_are_of_words(tmp_path: Path, vectors: list[str], other: str) -> None:
    with pytest.raises(ConfigError) as error:
        dataset(tmp_path, *vectors, other)
    assert "dataset: vectors are of words as they stand, each input's own" in str(error.value)
