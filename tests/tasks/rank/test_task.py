"""A ranker that learns from every place of a history, without seeing what comes next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attnlab.config.schema import Config
from attnlab.data.batch import Padded, collate
from attnlab.data.example import Example
from attnlab.data.vocabulary import SPECIAL, UNKNOWN
from attnlab.errors import UserError
from attnlab.tasks.choice_loss import NOT_COUNTED
from attnlab.tasks.rank.task import ClozeScores, Rank, Ranker
from tests.models.building import WORDS, built, small_config

EVERY = ["task=rank", "task.learn=every_position", "task.repeats=false", "objective=unsupervised"]
MODELS = {
    "sasrec": ["model=transformer", "attention=rope", "model.feedforward_dim=16"],
    "narm": ["model=recurrent", "attention=additive", "model.bidirectional=false"],
    "bag": ["model=recurrent", "attention=additive", "model.encoder_layers=0"],
}


def histories(*lengths: int) -> list[Example]:
    random = np.random.default_rng(0)
    items = [random.permutation(WORDS)[: length + 1].tolist() for length in lengths]
    return [
        Example(str(i), {"items": before}, answer, attended="items")
        for i, (*before, answer) in enumerate(items)
    ]


def config(name: str) -> Config:
    return small_config(*EVERY, *MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_each_place_answers_as_if_nothing_stood_after_it(name: str) -> None:
    given = config(name)
    examples = histories(5, 3, 1)
    model, batch, codec = built(given, examples)
    at_all = model.train()(batch)  # batch x places x items
    assert at_all.shape[1] == 5
    model.eval()
    for place in range(5):
        cut = [
            Example(e.id, {"items": e.inputs["items"][: place + 1]}, e.answer, attended="items")  # type: ignore[index]
            for e in examples
        ]
        alone = model(collate([codec.encode(each, i) for i, each in enumerate(cut)]))[:, 0]
        real = batch.inputs["items"].mask[:, place]
        torch.testing.assert_close(at_all[:, place][real], alone[real])


def test_what_follows_each_place_is_the_next_item_and_at_last_the_answer() -> None:
    given = config("sasrec")
    model, batch, codec = built(given, histories(3, 1))
    task = given.task.build(codec)
    assert isinstance(task, Rank)
    items, answers = batch.inputs["items"].values, batch.answer.values
    expected = [
        [int(items[0, 1]), int(items[0, 2]), int(answers[0, 0])],
        [int(answers[1, 0]), NOT_COUNTED, NOT_COUNTED],
    ]
    assert task.following(batch).tolist() == expected
    sums, places = task.losses(model.train()(batch), batch)
    assert places.tolist() == [3, 1]
    sums.sum().backward()


@pytest.mark.parametrize("learn", ["every_position", "answer", "masked_positions"])
@pytest.mark.parametrize("repeats", [True, False])
def test_what_a_place_has_seen_is_no_wrong_choice_where_none_comes_twice(
    learn: str, repeats: bool
) -> None:
    """However likely items of the history are, they cost nothing."""
    repeating = f"task.repeats={str(repeats).lower()}"
    given = small_config(*EVERY, *MODELS["sasrec"], f"task.learn={learn}", repeating)
    _, batch, codec = built(given, histories(4, 2))
    items, mask = batch.inputs["items"]
    places = {"every_position": 4, "answer": 1, "masked_positions": 5}[learn]
    scores = torch.zeros(2, places, len(codec.answers.vocabulary))  # type: ignore[attr-defined]
    scores[0, :, items[0, 0]] = 50.0
    scores.requires_grad_()
    hidden = torch.zeros_like(mask)
    hidden[0, 2] = True
    said = ClozeScores(scores, hidden) if learn == "masked_positions" else scores
    sums, counted = given.task.build(codec).losses(said, batch)
    assert (sums[0].item() > 40 * counted[0].item()) == repeats
    sums.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_items_of_the_history_are_not_recommended_where_none_comes_twice() -> None:
    alone = [Example(word, {"items": [word]}, "a", attended="items") for word in WORDS]
    model, batch, _ = built(config("sasrec"), [*histories(4, 2), *alone])  # so all are known
    assert isinstance(model, Ranker)
    with torch.no_grad():
        model.output[-1].bias[batch.inputs["items"].values[0]] += 100  # type: ignore[index]
    seen = batch.inputs["items"]
    for row, best, items, mask in zip(
        model.choices(batch), model.answer(batch), seen.values, seen.mask, strict=True
    ):
        barred = set(row.isneginf().nonzero()[:, 0].tolist())
        assert set(items[mask].tolist()) | set(range(len(SPECIAL))) == barred
        assert best.tolist() == [int(row.argmax())]
    model.repeats = True
    assert int(model.answer(batch)[0]) in seen.values[0].tolist()


def test_a_run_is_beside_what_most_people_chose_and_what_most_chose_next() -> None:
    given = config("sasrec")
    everything = Example("all", {"items": WORDS[1:]}, WORDS[0], attended="items")
    model, batch, codec = built(given, [*histories(4, 2), everything])
    task = given.task.build(codec)
    train = [Example("", {"items": ["a", "b"]}, "c", attended="items") for _ in range(2)]
    task.fit([*train, Example("", {"items": ["c"]}, "d", attended="items")])
    known = task.controls(batch, model(batch), [])
    assert set(known) == {"popularity", "markov", "item_neighbours"}
    scores, answers = known["popularity"]
    assert scores.shape == model(batch).shape
    vocabulary = codec.answers.vocabulary
    counts = dict(zip(vocabulary.units, scores[0, 0].tolist(), strict=True))
    assert (counts["c"], counts["a"], counts["d"], counts["e"]) == (3, 2, 1, 0)
    for row, answer in enumerate(answers[:2, 0].tolist()):
        assert answer not in batch.inputs["items"].values[row], "items do not come twice here"
        assert answer > UNKNOWN, "marks are no items"


HIDDEN = ["task=rank", "task.learn=masked_positions", "objective=unsupervised"]
READERS = {
    "bert4rec": MODELS["sasrec"],
    "recurrent": ["model=recurrent", "attention=additive"],
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_hidden_changes_nothing(name: str) -> None:
    model, batch, _ = built(small_config(*HIDDEN, *READERS[name]), histories(5, 3, 1))
    items, mask = batch.inputs["items"]
    hidden = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    others = items.masked_fill(hidden, int(items[0, 0]))
    changed = replace(batch, inputs={"items": Padded(others, mask)})
    said = model(batch, hidden)
    assert said.shape[:2] == (3, 6), "one place more, for what comes after the last"
    torch.testing.assert_close(model(changed, hidden), said)
    assert not torch.allclose(model(changed, ~hidden & mask), model(batch, ~hidden & mask))


@pytest.mark.parametrize("name", READERS)
def test_with_nothing_hidden_the_place_after_the_last_says_the_answer(name: str) -> None:
    model, batch, _ = built(small_config(*HIDDEN, *READERS[name]), histories(5, 3, 1))
    mask = batch.inputs["items"].mask
    everywhere = model(batch, torch.zeros_like(mask))
    alone = model(batch)
    for row, length in enumerate(mask.sum(1).tolist()):
        torch.testing.assert_close(alone[row, 0], everywhere[row, length])


def test_losses_are_of_what_was_hidden_and_of_the_answer() -> None:
    given = small_config(*HIDDEN, *READERS["bert4rec"], "task.mask_share=0.5")
    model, batch, codec = built(given, histories(5, 3, 1))
    task = given.task.build(codec)
    assert isinstance(task, Rank)
    torch.manual_seed(0)
    said = task.run(model.train(), batch)
    assert isinstance(said, ClozeScores)
    items, mask = batch.inputs["items"]
    assert said.masked.any()
    assert not (said.masked & ~mask).any()
    gold = task.masked_items(said.masked, batch)
    for row, length in enumerate(mask.sum(1).tolist()):
        assert gold[row, length] == batch.answer.values[row, 0]
        hidden = said.masked[row, :length]
        assert gold[row, :length][hidden].tolist() == items[row, :length][hidden].tolist()
        assert (gold[row, :length][~hidden] == NOT_COUNTED).all()
    sums, places = task.losses(said, batch)
    assert places.tolist() == (said.masked.sum(1) + 1).tolist()
    sums.sum().backward()
    assert task.run(model.eval(), batch).shape[1] == 1


def test_what_stands_beside_an_example_does_not_change_its_answer() -> None:
    examples = histories(5, 3, 1)
    model, batch, codec = built(small_config(*HIDDEN, *READERS["bert4rec"]), examples)
    together = model(batch)
    for row, example in enumerate(examples):
        alone = model(collate([codec.encode(example, 0)]))
        torch.testing.assert_close(together[row], alone[0])


TIED = [*EVERY, *MODELS["sasrec"], "model.tie=all"]


def test_items_are_ranked_by_the_vectors_that_they_are_read_by() -> None:
    everything = Example("all", {"items": WORDS}, WORDS[0], attended="items")
    model, batch, _ = built(small_config(*TIED), [*histories(5, 2), everything])
    (table,) = [each for each in model.modules() if isinstance(each, torch.nn.Embedding)]
    assert model.output[-1].weight is table.weight
    assert model(batch).shape == (3, 1, table.num_embeddings)


def test_items_that_no_history_holds_have_no_vector_to_be_ranked_by() -> None:
    said = r"model.tie: 'all' needs one vocabulary; these have 9 and 10 units"
    with pytest.raises(UserError, match=said):
        built(small_config(*TIED), histories(5, 2))
