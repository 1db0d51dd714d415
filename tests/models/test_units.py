"""Units as vectors: what training hides, and what letters say of words that it has not seen."""

from __future__ import annotations

import pytest
import torch

from attnlab.data.tokenizers import Words
from attnlab.data.vocabulary import SPECIAL, UNKNOWN, Vocabulary
from attnlab.models.units import LetteredEmbedding, UnitDropout, Units

SEEN = ["walking", "talking", "walked", "ran"]


@pytest.fixture
def words() -> Vocabulary:
    return Words(size=None, at_least=1, digits=True, letters=True).fit([SEEN])


@pytest.fixture
def embedding(words: Vocabulary) -> LetteredEmbedding:
    torch.manual_seed(0)
    made = Units("none", "model.dim", 0.1).words(words, 6)
    assert isinstance(made, LetteredEmbedding)
    return made


def test_units_are_shown_as_unknown_while_training_and_marks_stay() -> None:
    torch.manual_seed(0)
    units = torch.arange(40).repeat(50, 20, 1)  # sentences of them, of any shape
    hide = UnitDropout(0.2)
    seen = hide(units)
    hidden = seen != units
    assert (seen[hidden] == UNKNOWN).all()
    assert not hidden[..., : len(SPECIAL)].any()
    words = hidden[..., len(SPECIAL) :].float()
    assert float(words.mean()) == pytest.approx(0.2, abs=4 * (0.16 / words.numel()) ** 0.5)
    assert torch.equal(hide.eval()(units), units)
    assert torch.equal(UnitDropout(0)(units), units)


def test_a_hidden_word_keeps_its_letters(words: Vocabulary) -> None:
    units = torch.tensor([[*range(len(SPECIAL)), *words.encode([*SEEN, "stalking"])]])
    torch.manual_seed(0)
    shown = UnitDropout(0.9999, words)(units)[0].tolist()
    assert shown[: len(SPECIAL)] == units[0, : len(SPECIAL)].tolist()
    assert min(shown[len(SPECIAL) :]) >= len(words)
    assert len(set(shown[len(SPECIAL) :])) == len(SEEN) + 1
    assert shown[-1] == units[0, -1]  # it is unseen already


def test_an_unseen_word_has_the_vectors_of_affixes_that_others_have(
    words: Vocabulary, embedding: LetteredEmbedding
) -> None:
    def vector(word: str) -> torch.Tensor:
        return embedding(torch.tensor(words.encode([word])))[0]

    unknown = embedding.weight[UNKNOWN]
    assert torch.equal(vector("xylo"), unknown)
    assert not torch.allclose(vector("xxing"), unknown)  # -ng, -ing
    assert torch.equal(vector("xxing"), vector("yyying"))
    assert not torch.allclose(vector("xxing"), vector("making"))  # -king, too


def test_the_vector_of_a_seen_word_is_its_own_and_those_of_its_affixes(
    words: Vocabulary, embedding: LetteredEmbedding
) -> None:
    (number,) = words.encode(["ran"])
    unseen = torch.tensor(words.unseen()[number])
    affixes = embedding(unseen) - embedding.weight[UNKNOWN]
    assert torch.allclose(embedding(torch.tensor(number)), embedding.weight[number] + affixes)
    marks = embedding(torch.arange(len(SPECIAL)))
    assert torch.equal(marks, embedding.weight[: len(SPECIAL)])
    assert not marks[0].any()  # padding stays nothing
