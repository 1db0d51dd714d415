"""Small pictures and sounds as users have them."""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from attnlab.datasets.readers.media_config import Pictures, Sounds
from tests.forms import load_fitting


def dataset(kind: str, folder: Path, *overrides: str) -> Pictures | Sounds:
    words = [f"dataset={kind}", "task=classify", "objective=unsupervised"]
    config, _ = load_fitting([*words, f"dataset.folder={folder}", *overrides])
    assert isinstance(config.dataset, Pictures | Sounds)
    return config.dataset


def save_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def wav(samples: np.ndarray, rate: int, width: int = 2, channels: int = 1) -> bytes:
    """Samples from -1 to 1 as whole numbers of so many bytes."""
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
    whole = whole + 128 if width == 1 else whole
    kept = whole.view(np.uint8).reshape(-1, 4)[:, :width]
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(kept.tobytes())
    return content.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


LOUD = {"0": 0.2, "1": 0.4, "2": 0.6, "3": 0.8}  # words that are told apart by how loud they are


def spoken(folder: Path) -> None:
    """Ten takes of each of four words, as `dataset=fsdd` finds them below a folder."""
    files = {
        f"{word}_ann_{take}.wav": wav(np.full(400 + 40 * take, level), 8000)
        for word, level in LOUD.items()
        for take in range(10)
    }
    (folder / "fsdd").mkdir(exist_ok=True)
    zipped(folder / "fsdd" / "recordings.zip", files)
