"""What a page shows as text: pictures and masks as data URLs, sounds as spectra, packed maps."""

from __future__ import annotations

import base64
import colorsys
import io
import math
import wave
import zlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import TypedDict  # pydantic cannot check Python's own before 3.12

from attnlab.data.codec import Codec

Map = npt.NDArray[np.float32]
Rows = list[list[float]]

LONGEST_SIDE = 320  # pixels of a picture that is shown
PHOTO = 64  # pixels of a side from which a picture of bytes is kept as JPEG
BANDS = 32  # of a spectrum
HUE_STEP = 0.618034  # of the circle of hues, so that neighbouring classes differ

Bits = Literal[8, 16]


@dataclass(frozen=True)
class Regions:
    """Boxes or a mask that an answer marks in a picture."""

    boxes: Rows = field(default_factory=list)  # left, top, right, bottom, class, confidence
    mask: str | None = None  # data URL of a picture of classes, transparent for class 0

    @classmethod
    def of(cls, answer: Any, codec: Codec) -> Regions | None:
        """The regions of an encoded answer; None for answers of other forms."""
        marks = codec.answers.marks(np.asarray(answer))
        if marks is None:
            return None
        boxes = [] if marks.boxes is None else np.round(marks.boxes, 3).tolist()
        mask = None if marks.classes is None else mask_address(marks.classes, marks.count)
        return cls(boxes, mask)


def picture_address(pixels: npt.NDArray[Any]) -> str:
    """The data URL of channels x height x width; numbers are stretched to the range of bytes."""
    light = pixels if pixels.dtype == np.uint8 else _stretched(pixels) * 255
    channels = np.asarray(light, np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels[..., :3])
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    photo = pixels.dtype == np.uint8 and max(image.size) > PHOTO
    return _address(image, "jpeg" if photo else "png")


def mask_address(classes: npt.NDArray[Any], count: int) -> str:
    """The data URL of classes, height x width; class 0 is transparent."""
    colours = np.array([(0, 0, 0, 0), *(_colour(kind) for kind in range(1, count))], np.uint8)
    image = Image.fromarray(colours[classes.astype(np.int64)])
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.NEAREST)
    return _address(image, "png")


def pixels_at(address: str) -> npt.NDArray[np.uint8]:
    """The picture that a data URL holds: height x width (x channels)."""
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


def sound_address(samples: npt.NDArray[Any], rate: int) -> str:
    """The data URL of a sound as WAV, as loud as it can be."""
    loudest = max(float(np.abs(samples).max(initial=0)), 1e-9)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples / loudest * 32767).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(stream.getvalue()).decode()}"


def spectrum(samples: Map, hop: int) -> Rows:
    """The logarithmic energy from 0 to 1, low frequencies last: bands x frames."""
    whole = np.pad(samples, (0, -len(samples) % hop))
    energy = np.abs(np.fft.rfft(whole.reshape(-1, hop) * np.hanning(hop), n=2 * BANDS)) ** 2
    return np.round(_stretched(np.log(energy[:, 1:].T[::-1] + 1e-3)), 4).tolist()


def _stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """From 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return (np.asarray(values, np.float64) - low) / max(high - low, 1e-9)


def _colour(kind: int) -> tuple[int, ...]:
    return (*(round(255 * part) for part in colorsys.hsv_to_rgb(kind * HUE_STEP % 1, 0.75, 1)), 255)


def _address(image: Image.Image, form: Literal["png", "jpeg"]) -> str:
    content = io.BytesIO()
    image.save(content, form, optimize=True, **({"quality": 85} if form == "jpeg" else {}))
    return f"data:image/{form};base64,{base64.b64encode(content.getvalue()).decode()}"


class Packed(TypedDict):
    """An array of non-negative weights."""

    shape: list[int]
    bits: Bits
    peak: float
    data: str  # deflated, base64


def pack(weights: npt.ArrayLike, bits: Bits = 16) -> Packed:
    """The array as short text, so that a page can hold hundreds of maps; NaN becomes zero.

    Weights become whole numbers on a square-root scale, so that small weights keep their order:
    weight = peak * (number / greatest) ** 2, with 8 bits for pictures of heads, 16 for figures that
    are read. The page unpacks them with `DecompressionStream`.
    """
    array = np.nan_to_num(np.asarray(weights, np.float64)).clip(0)
    peak = float(array.max(initial=0.0))
    greatest = 2**bits - 1
    numbers = np.rint(np.sqrt(array / (peak or 1.0)) * greatest).astype(f"<u{bits // 8}")
    data = base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()
    return {"shape": list(array.shape), "bits": bits, "peak": round(peak, 6), "data": data}


def unpack(packed: Packed) -> npt.NDArray[np.float64]:
    """The weights of a packed array, up to rounding; a `ValueError` where it is damaged."""
    size = math.prod(packed["shape"]) * packed["bits"] // 8
    try:
        inflated = zlib.decompressobj()
        raw = inflated.decompress(base64.b64decode(packed["data"], validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"weights that cannot be unpacked ({error})") from None
    if len(raw) != size:
        raise ValueError(f"weights of another size than {packed['shape']}")
    numbers = np.frombuffer(raw, f"<u{packed['bits'] // 8}").reshape(packed["shape"])
    return packed["peak"] * (numbers / (2 ** packed["bits"] - 1)) ** 2
