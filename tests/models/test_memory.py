"""What a model does without one of its inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnlab.data.batch import collate
from attnlab.data.supervision import without
from attnlab.errors import UserError
from attnlab.models.memory import Missing
from tests.models.building import asked_about, built, small_config, texts

MODELS = {
    "one sequence": ["model=transformer", "attention=multihead"],
    "co-attention": ["model=transformer", "attention=multihead", "model.co_attention=1"],
    "convolutional": ["model=convolutional"],
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_missing_is_the_same_whatever_it_would_have_been(name: str) -> None:
    config = small_config("task=classify", "model.input_dropout=0.2", *MODELS[name])
    examples = asked_about()
    model, _, codec = built(config, examples)
    torch.nn.init.normal_(model.reader.missing.vectors)
    with torch.no_grad():
        for missing, left in (("image", "question"), ("question", "image")):
            shared = {left: examples[0].inputs[left]}
            alike = [replace(e, inputs=e.inputs | shared) for e in examples]
            whole = model(collate([codec.encode(e, 0) for e in alike]))
            lost = [without(e, [missing]) for e in alike]
            scores = model(collate([codec.encode(e, 0) for e in lost]))
            assert not torch.allclose(whole[0], whole[1])
            torch.testing.assert_close(scores[0], scores[1])
            # beside one that has all, padding and all, it is what it is alone
            mixed = model(collate([codec.encode(e, 0) for e in (alike[1], lost[0])]))
            torch.testing.assert_close(mixed[1], scores[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(mixed[0], whole[1], atol=1e-5, rtol=1e-4)


def test_training_leaves_out_one_at_most_of_several() -> None:
    torch.manual_seed(0)
    there = torch.ones(3, 4000, dtype=torch.bool)
    there[1:, :1000] = False  # these have one input left
    kept = Missing(3, 4, dropout=0.3).kept(there)
    assert kept[:, :1000].all()
    gone = (~kept[:, 1000:]).sum(0)
    assert set(gone.tolist()) == {0, 1}
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.03)
    shares = (~kept[:, 1000:]).float().mean(1)
    torch.testing.assert_close(shares, torch.full((3,), 0.1), atol=0.02, rtol=0)


def test_vectors_learn_where_inputs_are_left_out() -> None:
    config = small_config("task=classify", "model.input_dropout=0.9", *MODELS["one sequence"])
    model, batch, _ = built(config, asked_about())
    torch.manual_seed(0)
    model.train()(batch).square().sum().backward()
    assert model.reader.missing.vectors.grad.abs().sum() > 0
    whole, _, _ = built(small_config("task=classify", *MODELS["one sequence"]), asked_about())
    assert whole.reader.missing is None, "who never meets it has nothing to learn"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "model.input_dropout=0.1",
            "model.input_dropout: 0.1 leaves out one of several inputs; dataset 'dates' has 'text' "
            "alone; try: model.input_dropout=0",
        ),
        (
            "model.co_attention=2",
            "model.co_attention: 2 is between several inputs; dataset 'dates' has 'text' alone; "
            "try: model.co_attention=0",
        ),
    ],
)
def test_one_input_is_not_several(override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        built(small_config(override), texts([2, 2], [3, 4]))
    assert str(caught.value) == line
