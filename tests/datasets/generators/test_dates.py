"""Dates: the text must mean one date, and the target must point at the characters that say it."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest
from babel.dates import format_date

from attnlab.data.example import Example
from attnlab.datasets.generators.dates import said_by
from attnlab.errors import ConfigError

PLAIN = {"two_digit_years": 0.0, "native_digits": 0.0, "ordinals": 0.0, "case_changes": 0.0}


def text_of(example: Example) -> str:
    return "".join(example.inputs["text"])


def date_of(example: Example) -> date:
    return date.fromisoformat("".join(example.answer))


@pytest.fixture(scope="module")
def examples(generator) -> list[Example]:
    return list(generator("dates", train=6000).examples("train"))


def test_plain_texts_are_what_babel_itself_writes(generator):
    styles = ["full", "long", "medium"]
    for example in generator("dates", train=800, styles=styles, **PLAIN).examples("train"):
        meta, day = example.meta, date_of(example)
        assert text_of(example) == format_date(day, meta["style"], meta["locale"])


def test_no_text_means_two_dates(examples):
    meant = {}
    for example in examples:
        assert meant.setdefault(text_of(example), date_of(example)) == date_of(example)


def test_a_numeric_date_is_kept_only_where_all_readers_agree(generator):
    changes = PLAIN | {"two_digit_years": 0.5}
    made = generator("dates", train=600, locales=["en", "en_GB", "zh"], styles=["short"], **changes)
    for example in made.examples("train"):
        first, second, last = text_of(example).split("/")
        if len(first) == 4 or len(last) == 1:  # the year comes first, and then the month
            continue
        assert max(int(first), int(second)) > 12 or first == second


def test_a_language_alone_keeps_its_small_days(generator):
    made = generator("dates", train=300, locales=["en"], styles=["short"], **PLAIN)
    days = {date_of(example).day for example in made.examples("train")}
    assert days == set(range(1, 32))


@pytest.mark.parametrize("row", [0, 1, 2, 3, 5, 6, 8, 9])
def test_single_characters_pointed_to_say_the_digit(examples, row):
    checked = 0
    for example in examples:
        (keys,) = example.target.weights[row].nonzero()
        characters = [example.inputs["text"][key] for key in keys]
        assert characters
        said = [unicodedata.digit(character, None) for character in characters]
        if len(said) != 1 or said[0] is None:
            continue
        answer = int(example.answer[row])
        partner = {5: 6, 8: 9}.get(row)  # the tens of '5' are said by the '5' itself
        if partner and answer == 0 and said[0] == int(example.answer[partner]):
            answer = said[0]
        assert said[0] == answer
        checked += 1
    assert checked > 500


def test_a_month_in_words_is_pointed_to_whole(generator):
    made = generator("dates", train=300, locales=["en"], styles=["full"], **PLAIN)
    for example in made.examples("train"):
        for row in (5, 6):
            (keys,) = example.target.weights[row].nonzero()
            word = text_of(example)[keys[0] : keys[-1] + 1]
            assert len(keys) == len(word)
            assert word == date_of(example).strftime("%B")


def test_hyphens_have_nothing_to_look_at(examples):
    for example in examples[:200]:
        target = example.target
        assert target.weights.shape == (10, len(example.inputs["text"]))
        assert [i for i in range(10) if not target.query_mask[i]] == [4, 7]
        assert not target.weights[[4, 7]].any()
        assert target.weights[target.query_mask].any(axis=1).all()


def test_a_short_year_says_its_century(generator):
    changes = PLAIN | {"two_digit_years": 1.0}
    made = generator("dates", train=300, first_year=1950, last_year=2049, **changes)
    for example in made.examples("train"):
        assert str(date_of(example).year) not in text_of(example)
        (keys,) = example.target.weights[0].nonzero()
        assert len(keys) == 2


def test_years_outside_the_window_are_written_out(generator):
    changes = PLAIN | {"two_digit_years": 1.0}
    made = generator("dates", train=100, first_year=1850, last_year=1900, **changes)
    assert all(str(date_of(e).year) in text_of(e) for e in made.examples("train"))


def test_languages_and_styles_all_appear(examples):
    assert len({example.meta["locale"].partition("_")[0] for example in examples}) >= 20
    assert {example.meta["style"] for example in examples} == {
        *("full", "long", "medium", "short", "abbreviated", "numeric")
    }
    scripts = {
        unicodedata.name(character).split()[0]
        for example in examples
        for character in example.inputs["text"]
        if character.isdigit()
    }
    assert {"DIGIT", "ARABIC-INDIC", "EXTENDED", "DEVANAGARI", "BENGALI", "THAI"} <= scripts


def test_ordinals_follow_the_day(generator):
    changes = PLAIN | {"ordinals": 1.0, "locales": ["en"], "styles": ["long"]}
    for example in generator("dates", train=200, **changes).examples("train"):
        number = date_of(example).day
        last = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
        assert f" {number}{last.get(number, 'th')}," in text_of(example)


def test_what_says_each_digit():
    assert said_by("17", 2) == [[0], [1]]
    assert said_by("7", 2) == [[0], [0]]
    assert said_by("1987", 4) == [[0], [1], [2], [3]]
    assert said_by("87", 4) == [[0, 1], [0, 1], [0], [1]]
    assert said_by("May", 2) == [[0, 1, 2], [0, 1, 2]]
    assert said_by("tháng 12", 2) == [[6], [7]]


def test_an_unknown_language_is_named(generator):
    with pytest.raises(ConfigError, match=r"no language 'cz' in CLDR; .*allowed: zu, "):
        list(generator("dates", locales=["en", "cz"]).examples("train"))
