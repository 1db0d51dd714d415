"""The chain of tags against the sum over all chains, one by one."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnlab.data.vocabulary import SPECIAL
from attnlab.tasks.tag.head import TagChain, allowed

TAGS = [*SPECIAL, "O", "B-per", "I-per", "B-loc", "I-loc"]
LENGTHS = (4, 1, 3)


def drawn(seed: int = 0, size: float = 2.0) -> tuple[TagChain, Tensor, Tensor, Tensor]:
    """A chain with parameters, scores, mask and right tags of a padded batch."""
    torch.manual_seed(seed)
    chain = TagChain(TAGS).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter, std=size)
    scores = size * torch.randn(len(LENGTHS), max(LENGTHS), len(TAGS))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    tags = torch.randint(len(TAGS), mask.shape) * mask
    return chain, scores, mask, tags


def score(chain: TagChain, scores: Tensor, tags: tuple[int, ...]) -> Tensor:
    """Of one chain of one text, term by term."""
    total = chain.first[tags[0]] + chain.last[tags[-1]]
    total = total + sum(scores[i, tag] for i, tag in enumerate(tags))
    return total + sum(chain.transitions[pair] for pair in itertools.pairwise(tags))


def every(length: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(len(TAGS)), repeat=length))


def likelihoods(chain: TagChain, scores: Tensor, mask: Tensor, tags: Tensor) -> Tensor:
    """log p of each text's right tags, from the scores that the task sees."""
    found = chain.given_before(scores, mask, tags).log_softmax(-1)
    return (found.gather(-1, tags[..., None])[..., 0] * mask).sum(1)


@pytest.mark.parametrize("size", [0.3, 2.0, 8.0])
def test_product_of_conditionals_is_the_likelihood_over_all_chains(size: float) -> None:
    chain, scores, mask, tags = drawn(size=size)
    found = likelihoods(chain, scores, mask, tags)
    for i, length in enumerate(LENGTHS):
        each = torch.stack([score(chain, scores[i], other) for other in every(length)])
        own = score(chain, scores[i], tuple(tags[i, :length].tolist()))
        torch.testing.assert_close(
            found[i].double(), (own - each.logsumexp(0)).double(), atol=1e-4, rtol=1e-5
        )


def test_gradients_are_those_of_the_sum_over_all_chains() -> None:
    chain, scores, mask, tags = drawn(size=1.0)
    scores.requires_grad_()
    likelihoods(chain, scores, mask, tags).sum().backward()
    assert scores.grad is not None
    found = [scores.grad.clone(), *(p.grad.clone() for p in chain.parameters())]  # type: ignore[union-attr]
    scores.grad = None
    chain.zero_grad()
    for i, length in enumerate(LENGTHS):
        each = torch.stack([score(chain, scores[i], other) for other in every(length)])
        own = score(chain, scores[i], tuple(tags[i, :length].tolist()))
        (own - each.logsumexp(0)).backward()
    right = [scores.grad, *(p.grad for p in chain.parameters())]
    for mine, gold in zip(found, right, strict=True):
        torch.testing.assert_close(mine, gold, atol=1e-5, rtol=1e-4, check_dtype=False)
    assert not scores.grad[~mask].any()


def test_best_chain_is_the_best_of_those_that_may_be() -> None:
    chain, scores, mask, _ = drawn(seed=1)
    begins, follows = allowed(TAGS)
    found = chain.best(scores, mask)
    for i, length in enumerate(LENGTHS):
        may_be = [
            tags
            for tags in every(length)
            if begins[tags[0]] and all(follows[pair] for pair in itertools.pairwise(tags))
        ]
        best = max(may_be, key=lambda tags: float(score(chain, scores[i].double(), tags)))
        assert found[i, :length].tolist() == list(best)
        assert not found[i, length:].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_best_chain_keeps_the_rules_of_bio_whatever_the_scores(seed: int, size: float) -> None:
    chain, scores, mask, _ = drawn(seed, size)
    for tags, length in zip(chain.best(scores, mask).tolist(), LENGTHS, strict=True):
        names = [TAGS[tag] for tag in tags[:length]]
        assert not set(names) & set(SPECIAL)
        for before, after in itertools.pairwise(["O", *names]):
            inside, kind = after.startswith("I-"), after[2:]
            assert not inside or before in (f"B-{kind}", f"I-{kind}")


def test_padding_and_what_stands_in_it_change_nothing() -> None:
    chain, scores, mask, tags = drawn()
    other = torch.where(mask[..., None], scores, 1e6)
    torch.testing.assert_close(
        likelihoods(chain, scores, mask, tags), likelihoods(chain, other, mask, tags)
    )
    assert chain.best(other, mask).equal(chain.best(scores, mask))


def test_tags_without_spans_may_stand_in_any_order() -> None:
    begins, follows = allowed([*SPECIAL, "noun", "verb", "post-verb"])
    assert begins.tolist() == [False] * 4 + [True] * 3
    assert follows[4:, 4:].all()


def test_narrow_scores_are_summed_in_fp32() -> None:
    chain, scores, mask, tags = drawn()
    chain = chain.float()
    found = chain.given_before(scores.bfloat16(), mask, tags)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, chain.given_before(scores.bfloat16().float(), mask, tags))
