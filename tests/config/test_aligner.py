"""Settings of the aligner: defaults, and what is said of mistakes."""

from __future__ import annotations

import pytest

from attnlab.alignment.config import load
from attnlab.errors import ConfigError


def mistakes(*overrides: str, learned: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(overrides, load([]) if learned else None)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_defaults_and_changes() -> None:
    assert load([]).hmm_rounds == 5
    assert load(["hmm_rounds=8"]).hmm_rounds == 8
    assert load(["threshold=0.7"], load(["hmm_rounds=3"])).hmm_rounds == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hmm_rouns=8", "hmm_rouns: unknown key; did you mean 'hmm_rounds'? allowed: "),
        ("hmm_rounds=0", "hmm_rounds: 0 is not allowed; should be greater than or equal to 1"),
        (
            "symmetrise=grow",
            "symmetrise: 'grow' is not allowed; did you mean 'grow-diag'? allowed: agreement, "
            "auto, grow-diag, grow-diag-final-and, intersection, mean, union",
        ),
        ("words.split=letters", "words.split: 'letters' is not allowed; allowed: characters, "),
        ("encoder.links=soft", "encoder.links: 'soft' is not allowed; "),
        ("fast", "fast: not of the form key=value"),
    ],
)
def test_a_mistake_is_one_line(override: str, said: str) -> None:
    (line,) = mistakes(override)
    assert line.startswith(said)


def test_all_mistakes_are_said_at_once() -> None:
    assert len(mistakes("none=2", "foo=1", "threshold=x")) == 3


def test_what_was_learned_stays() -> None:
    (line,) = mistakes("hmm_rounds=8", learned=True)
    said = "hmm_rounds: cannot be changed once learned; allowed: longest, symmetrise, threshold"
    assert line == said
