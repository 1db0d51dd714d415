"""Haystack: the marked facts, and they alone, lead to the answer."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from attnlab.errors import UserError

IS_AT = re.compile(r"(\w+) (?:went to|is now in) the (\w+)")
TOOK = re.compile(r"(\w+) (?:took|has got) the (\w+)")
PART = re.compile(r"the (\w+) (?:is part of|belongs to) the (\w+)")


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("length", [130, 400])
@pytest.mark.parametrize("own", [False, True])
def test_marked_facts_lead_to_the_answer(generator, tmp_path, hops, length, own) -> None:
    prose = None
    if own:
        (tmp_path / "tale.txt").write_text("Call me Ishmael. Some years ago,\nnever mind how long!")
        prose = str(tmp_path / "tale.txt")
    made = generator("haystack", train=30, length=length, hops=hops, distractors=4, prose=prose)
    seen = set()
    for example in made.examples("train"):
        words = example.inputs["text"]
        assert len(words) == length
        facts = [" ".join(words[start:end]) for start, end in example.meta["evidence"]]
        asked = example.meta["hops"]
        seen.add(asked)
        assert len(facts) == asked
        assert all(words[end] == "." for _, end in example.meta["evidence"])
        marked = {i for start, end in example.meta["evidence"] for i in range(start, end)}
        assert set(example.target.weights[0].nonzero()[0].tolist()) == marked
        assert ("ishmael" in words) == own
        text, said = " ".join(words), " . ".join(facts)
        for source in (said, text):
            where, holder = dict(IS_AT.findall(source)), {t: p for p, t in TOOK.findall(source)}
            assert len(where) == (1 if source is said else 5)
            name = words[-2]
            person = name if asked == 1 else holder[name]
            place = where[person]
            assert example.answer == (dict(PART.findall(source))[place] if asked == 3 else place)
    assert seen == set(range(1, hops + 1))


def test_the_evidence_lies_anywhere(generator) -> None:
    made = generator("haystack", train=200, hops=1, distractors=0)
    starts = [example.meta["evidence"][0][0] for example in made.examples("train")]
    assert min(starts) < 10
    assert max(starts) > 105


def test_facts_that_do_not_fit_are_refused(generator) -> None:
    with pytest.raises(ValidationError, match="so many facts need a length of 71 or more"):
        generator("haystack", length=70, hops=2, distractors=3)


def test_prose_comes_in_the_order_of_its_file(generator, tmp_path) -> None:
    (tmp_path / "tale.txt").write_text("One two. Three four!\n\nFive.")
    made = generator("haystack", hops=1, distractors=0, length=80, prose=str(tmp_path / "tale.txt"))
    example = next(made.examples("train"))
    (start, end) = example.meta["evidence"][0]
    words = example.inputs["text"]
    text = " ".join(words[:start] + words[end + 1 : -4])  # without the fact and the question
    assert "one two . three four ! five . one two . three four !" in text


def test_prose_that_is_not_there_is_named(generator, tmp_path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    for name, line in (("tail.txt", "dataset.prose: no file"), ("empty.txt", "has no words")):
        made = generator("haystack", prose=str(tmp_path / name))
        with pytest.raises(UserError, match=line):
            next(made.examples("train"))
