"""What becomes of words before a model sees them, and what training changes in what it sees.

`conf/dataset/tokenizer/` holds defaults. A tokenizer is trained on the training split when the
data are prepared, and kept with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from attnlab.config.dataset import Augment
from attnlab.config.section import Variant

TOKENIZERS = "attnlab.data.tokenizers"
AUGMENT = "attnlab.data.augment"
TEXT_AUGMENT = "attnlab.data.text_augment"
Chance = Annotated[float, Field(ge=0, le=1)]


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
    letters: bool = Field(
        description="whether the first and last four letters of a word, seen in training or not, "
        "are part of its embedding, so that a new word is known by how it begins and ends"
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


class Affine(Augment, kind="affine", target=f"{AUGMENT}:Affine"):
    """Turn, stretch, slant and move a picture; gold maps go with it."""

    turn: float = Field(ge=0, le=180, description="degrees to either side")
    scale: float = Field(ge=0, lt=1, description="share by which each side grows or shrinks")
    shear: float = Field(ge=0, lt=90, description="degrees by which upright lines slant")
    shift: float = Field(ge=0, lt=1, description="share of each side by which it moves")


class Mirror(Augment, kind="mirror", target=f"{AUGMENT}:Mirror"):
    """Left becomes right; gold maps go with it."""

    chance: Chance = Field(description="share of the pictures that are mirrored")


class Light(Augment, kind="light", target=f"{AUGMENT}:Light"):
    """A picture brighter or darker, and with more or less contrast."""

    brightness: float = Field(ge=0, description="most that is added or taken away, of 1")
    contrast: float = Field(ge=0, lt=1, description="share by which contrast grows or shrinks")


class Noise(Augment, kind="noise", target=f"{AUGMENT}:Noise"):
    """White noise on every pixel, which are from 0 to 1."""

    amount: float = Field(gt=0, description="standard deviation")


class Mix(Augment, kind="mix", target=f"{AUGMENT}:Mix"):
    """White noise in a sound, of a loudness that is drawn."""

    chance: Chance = Field(description="share of the sounds that get some")
    least_snr: float = Field(description="loudest noise: dB between sound and noise")
    most_snr: float = Field(description="faintest noise: dB between sound and noise")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least_snr > self.most_snr:
            raise ValueError("least_snr is above most_snr")
        return self


class Gain(Augment, kind="gain", target=f"{AUGMENT}:Gain"):
    """A sound louder or fainter."""

    most: float = Field(gt=0, description="dB to either side")


class Tempo(Augment, kind="tempo", target=f"{AUGMENT}:Tempo"):
    """A whole sound faster and higher, or slower and lower; gold times follow."""

    most: float = Field(gt=0, lt=1, description="share to either side")


class WordAugment(Augment):
    """A change of the words of texts; gold maps go with them."""

    of_words = True


class DropWords(WordAugment, kind="drop_words", target=f"{TEXT_AUGMENT}:DropWords"):
    """Words left out."""

    chance: float = Field(gt=0, lt=1, description="share of the words")


class SwapWords(WordAugment, kind="swap_words", target=f"{TEXT_AUGMENT}:SwapWords"):
    """Two words change places."""

    share: float = Field(gt=0, le=1, description="how often, as a share of the text's length")


class MaskWords(WordAugment, kind="mask_words", target=f"{TEXT_AUGMENT}:MaskWords"):
    """Stretches of words replaced by one mark each."""

    share: float = Field(gt=0, lt=1, description="share of the words")
    span: int = Field(gt=0, description="words of a stretch, in the mean")


class Typos(WordAugment, kind="typos", target=f"{TEXT_AUGMENT}:Typos"):
    """Words misspelt: a letter left out or doubled, or two exchanged."""

    share: float = Field(gt=0, le=1, description="of the words")


class FromVectors(WordAugment):
    """Words near in meaning, by the vectors of the data (`dataset.vectors`)."""

    share: float = Field(gt=0, le=1, description="share of the words")
    least: float = Field(ge=-1, le=1, description="cosine from which on a word is near another")


class Synonyms(FromVectors, kind="synonyms", target=f"{TEXT_AUGMENT}:Synonyms"):
    """Words replaced by others that are near."""


class InsertWords(FromVectors, kind="insert_words", target=f"{TEXT_AUGMENT}:InsertWords"):
    """Words near to those of the text, put in anywhere."""
