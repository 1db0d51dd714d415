"""How words are aligned. `conf/aligner.yaml` holds the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from omegaconf import OmegaConf
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from attnlab.config.section import Section, config_dir
from attnlab.datasets.readers.config import SPLIT, Split
from attnlab.errors import ConfigError, Mistake, suggest

Symmetrisation = Literal[
    "agreement", "mean", "intersection", "union", "grow-diag", "grow-diag-final-and"
]
Symmetrised = Literal["auto", Symmetrisation]
AFTER_LEARNING = ("longest", "threshold", "symmetrise")  # what counts only when links are read off
HELP = "attnlab align --help"


class AlignedWords(Section):
    """How lines become words, which links count."""

    split: Split = Field(description=SPLIT)


class Encoded(Section):
    """How words are linked by the states of a pretrained encoder."""

    layer: int | None = Field(
        ge=0, description="whose states are compared, 0 the embeddings; null is two thirds up"
    )
    links: Literal["iterated", "transport"] = Field(
        description="words that are each other's most alike, in rounds (Jalili Sabet et al. 2020); "
        "or shares of an optimal transport between both sentences"
    )
    rounds: int = Field(ge=1, description="of iterated links; 1 is the argmax of both directions")


class AlignerSettings(Section):
    """Learning from sentence pairs alone, and reading links off what was learned."""

    words: AlignedWords
    lowercase: bool = Field(description="whether words count as the same in small letters")
    longest: int = Field(
        ge=1, description="a pair with more words on a side is left out, and gets no links"
    )
    ibm_rounds: int = Field(
        ge=1, description="rounds that know no order of words (model 1 of Brown et al. 1993)"
    )
    hmm_rounds: int = Field(
        ge=1, description="rounds in which both directions learn from what they agree on"
    )
    none: float = Field(gt=0, lt=1, description="chance that a word comes from no word")
    smoothing: float = Field(gt=0, description="prior count of every pair of words")
    spelling: float = Field(
        ge=0, description="prior count of a pair written alike: names, numbers, loan words"
    )
    stem_letters: int = Field(ge=1, description="first letters that make a word's stem")
    stem_weight: float = Field(
        ge=0, description="prior counts of a word that are handed out as its stem's are"
    )
    jump_words: int = Field(
        ge=1, description="a word as frequent as this has its own distribution of jumps"
    )
    jump_weight: float = Field(
        ge=0, description="counts of the shared distribution that are added to a word's own"
    )
    threshold: float = Field(
        gt=0, lt=1, description="chance above which agreement and mean link two words"
    )
    encoder: Encoded
    symmetrise: Symmetrised = Field(
        description="how two directions become one alignment; auto takes what the chances of both "
        "directions expect the best F1 of"
    )


def load(overrides: Sequence[str], learned: AlignerSettings | None = None) -> AlignerSettings:
    """The defaults, or what an aligner was learned with, and what is set anew; `ConfigError`."""
    mistakes = [
        Mistake(override, "not of the form key=value")
        for override in overrides
        if "=" not in override
    ]
    before = learned.model_dump() if learned else OmegaConf.load(config_dir() / "aligner.yaml")
    changes = OmegaConf.from_dotlist([word for word in overrides if "=" in word])
    allowed = AFTER_LEARNING if learned else tuple(AlignerSettings.model_fields)
    for key in changes:
        if key in allowed:
            continue
        problem = "cannot be changed once learned" if key in AlignerSettings.model_fields else ""
        mistakes.append(Mistake(str(key), problem or "unknown key", suggest(str(key), allowed)))
    values = OmegaConf.to_container(OmegaConf.merge(before, changes))
    assert isinstance(values, dict)
    try:
        settings = AlignerSettings.model_validate({key: values[key] for key in before})
    except ValidationError as error:
        mistakes += [_mistake(details) for details in error.errors(include_url=False)]
        raise ConfigError(mistakes, HELP) from None
    if mistakes:
        raise ConfigError(mistakes, HELP)
    return settings


def _mistake(details: ErrorDetails) -> Mistake:
    key, problem = ".".join(map(str, details["loc"])), f"{details['input']!r} is not allowed"
    if details["type"] == "literal_error":
        allowed = get_args(Split if key == "words.split" else Symmetrised)
        return Mistake(key, problem, suggest(str(details["input"]), allowed))
    return Mistake(key, problem, details["msg"].removeprefix("Input "))
