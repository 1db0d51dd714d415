"""Words to the pieces of a pretrained tokenizer and back, with that tokenizer's own marks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from attnlab.data.pretrained import Pretrained, PretrainedPieces, pretrained_pieces
from attnlab.data.tokenizers import vocabulary_of
from attnlab.data.vocabulary import EOS, PAD, SPECIAL, UNKNOWN
from attnlab.errors import UserError
from tests.models import pretrained

FOLDERS: dict[str, Callable[[Path], Path]] = {
    "bert": pretrained.bert,
    "roberta": pretrained.roberta,
    "t5": pretrained.t5,
}
MARKS = {"bert": (1, 1), "roberta": (1, 1), "t5": (0, 1)}
TEXT = ["my", "aunt", "says", ",", "the", "unfriendly", "waiter", "was", "warm"]


@pytest.fixture(scope="module", params=FOLDERS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FOLDERS[family](tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def pieces(folder: Path) -> PretrainedPieces:
    return pretrained_pieces(str(folder), None, "model.name")


def test_numbers_are_those_of_the_model(pieces: PretrainedPieces, folder: Path) -> None:
    own = transformers.AutoTokenizer.from_pretrained(folder)
    gold = own("".join(f" {word}" for word in TEXT))
    assert [pieces.ids[number] for number in pieces.encode(TEXT)] == gold["input_ids"]
    assert len(pieces) == len(pieces.units) == len(pieces.ids)


def test_marks_belong_to_no_word(pieces: PretrainedPieces, family: str) -> None:
    before, after = MARKS[family]
    members = pieces.groups(TEXT).members
    assert all(not members[i] for i in range(before))
    assert not members[-after]
    inner = members[before : len(members) - after]
    assert sorted({word for group in inner for word in group}) == list(range(len(TEXT)))


def test_written_texts_have_no_marks_and_come_back(pieces: PretrainedPieces) -> None:
    bare = pieces.bare()
    numbers = bare.encode(TEXT)
    assert all(bare.groups(TEXT).members)
    assert "".join(bare.decode([*numbers, EOS, 9, PAD])) == "".join(TEXT)
    words, groups = bare.read(numbers)
    assert len(words) == len(groups)
    assert sorted(place for group in groups.members for place in group) == list(range(len(numbers)))


def test_kept_with_the_data_it_needs_no_folder(pieces: PretrainedPieces) -> None:
    again = vocabulary_of(json.loads(json.dumps(pieces.describe())))
    assert isinstance(again, PretrainedPieces)
    assert (again.units, again.ids, again.marks) == (pieces.units, pieces.ids, pieces.marks)
    assert again.encode(TEXT) == pieces.encode(TEXT)
    assert not vocabulary_of(pieces.bare().describe()).encode([])


def test_a_text_that_spells_a_mark_is_not_one(pieces: PretrainedPieces) -> None:
    for word in ("</s>", "[SEP]", "<pad>"):
        assert not set(pieces.bare().encode([word])) & {PAD, EOS}


def test_a_word_of_nothing_known_is_unknown(family: str, pieces: PretrainedPieces) -> None:
    if family != "roberta":  # bytes spell everything
        assert UNKNOWN in pieces.bare().encode(["Ω"])
    assert pieces.units[: len(SPECIAL)] == list(SPECIAL)


def test_it_serves_other_models_as_it_is(folder: Path, pieces: PretrainedPieces) -> None:
    lent = Pretrained(model=str(folder), revision=None).fit([["never", "seen"]])
    assert lent.encode(TEXT) == pieces.bare().encode(TEXT)


def test_no_tokenizer_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        pretrained_pieces(str(tmp_path), None, "dataset.tokenizer.model")
    assert str(caught.value).startswith(f"dataset.tokenizer.model: no tokenizer in '{tmp_path}', ")
    assert "\n" not in str(caught.value)
