"""What the words of a text become before a model sees them. `conf/dataset/tokenizer/` has defaults.

A tokenizer is trained on the training split when the data are prepared, and kept with them.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from attnlab.config.section import Variant

TOKENIZERS = "attnlab.data.tokenizers"


class Tokenizer(Variant, slot="tokenizer"):
    """From words to the units of a vocabulary; gold maps over words follow."""

    joint: bool = Field(
        description="one vocabulary for all texts; otherwise each input, and the answer, its own"
    )

    def settings(self) -> dict[str, Any]:
        """Which texts share a vocabulary is not the tokenizer's business."""
        return {k: v for k, v in super().settings().items() if k != "joint"}


class Words(Tokenizer, kind="words", target=f"{TOKENIZERS}:Words"):
    """Each word is a unit."""

    size: int | None = Field(ge=8, description="units at most, the most frequent; null is all")
    at_least: int = Field(ge=1, description="times that a word has to occur in training")
    digits: bool = Field(
        description="whether digits differ; if not, each reads as 0, so that numbers never seen "
        "are known by their form (as in Lample et al. 2016)"
    )


class Characters(Tokenizer, kind="characters", target=f"{TOKENIZERS}:Characters"):
    """Each character is a unit; a mark says where a word begins."""

    at_least: int = Field(ge=1, description="times that a character has to occur in training")


class Bpe(Tokenizer, kind="bpe", target=f"{TOKENIZERS}:Bpe"):
    """Pieces of words, merged pair by pair, the most frequent first (Sennrich et al. 2016)."""

    size: int = Field(ge=8, description="units at most")
    at_least: int = Field(ge=1, description="times that a pair has to occur to be merged")
    dropout: float = Field(
        ge=0,
        lt=1,
        description="merges left out at random when training reads a word, so that it meets the "
        "word in other pieces each time (BPE-dropout, Provilkov et al. 2020)",
    )


class Unigram(Tokenizer, kind="unigram", target=f"{TOKENIZERS}:Unigram"):
    """Pieces of words that make the text most likely under a unigram model (Kudo 2018)."""

    size: int = Field(ge=8, description="units at most")


class Pretrained(Tokenizer, kind="hf", target="attnlab.data.pretrained:Pretrained"):
    """The pieces of a pretrained model, as its own tokenizer makes them (attnlab[hf]).

    `model=hf` brings its tokenizer by itself; this lends one to other models.
    """

    model: str = Field(min_length=1, description="a model's id on the hub, or a folder")
    revision: str | None = Field(description="commit to read, so that it stays the same")
