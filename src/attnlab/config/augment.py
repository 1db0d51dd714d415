"""How training changes pictures and sounds, so that none is seen twice the same way."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from attnlab.config.section import Variant

AUGMENT = "attnlab.data.augment"
Chance = Annotated[float, Field(ge=0, le=1)]


class Augment(Variant, slot="augment"):
    """One step; what is drawn anew for each example of each batch."""


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
