"""An aligner as one file of plain arrays; reading it runs no code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from attnlab.alignment.aligner import Aligner
from attnlab.alignment.bitext import PairTable, Vocabulary
from attnlab.alignment.config import AlignerSettings
from attnlab.alignment.direction import Direction
from attnlab.alignment.jumps import Jumps
from attnlab.alignment.lexicon import Lexicon
from attnlab.errors import UserError

FILE = "aligner.npz"
FORMAT = 1
DAMAGED = (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, ValidationError)

Arrays = dict[str, npt.NDArray[Any]]


def save(aligner: Aligner, folder: Path) -> Path:
    """Write the file; it is moved into place when it is whole."""
    head = {"format": FORMAT, "settings": aligner.settings.model_dump()}
    arrays: Arrays = {"head": _bytes(json.dumps(head)), "pairs": aligner.pairs.keys}
    for side, words in zip(("source", "target"), aligner.words, strict=True):
        arrays[f"{side}_words"] = _bytes("\n".join(words.words))
    for name, direction in zip(("forward", "backward"), aligner.directions, strict=True):
        arrays |= {f"{name}_{part}": array for part, array in _parts(direction).items()}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"unfinished-{FILE}"
    np.savez_compressed(unfinished, allow_pickle=False, **arrays)
    return unfinished.replace(folder / FILE)


def load(folder: Path) -> Aligner:
    """What `save` wrote into this folder."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"--model: no {FILE} in {folder}; `attnlab align` writes one to --out")
    try:
        with np.load(path, allow_pickle=False) as file:
            return _restored({name: file[name] for name in file.files})
    except DAMAGED as error:
        raise UserError(f"--model: {path} is damaged or of another version ({error})") from None


def _restored(arrays: Arrays) -> Aligner:
    head = json.loads(_text(arrays["head"]))
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']}, not {FORMAT}")
    settings = AlignerSettings.model_validate(head["settings"])
    sources, targets = (
        Vocabulary(_text(arrays[f"{side}_words"]).split("\n")) for side in ("source", "target")
    )
    forward, backward = (
        Direction(
            Lexicon(*(arrays[f"{name}_{part}"] for part in ("pairs", "none", "totals"))),
            Jumps(arrays[f"{name}_jumps"], arrays[f"{name}_classes"]),
            settings.none,
        )
        for name in ("forward", "backward")
    )
    pairs = PairTable(arrays["pairs"], len(targets))
    return Aligner(settings, (sources, targets), pairs, (forward, backward))


def _parts(direction: Direction) -> Arrays:
    lexicon, jumps = direction.lexicon, direction.jumps
    return {
        "pairs": lexicon.pairs,
        "none": lexicon.none,
        "totals": lexicon.totals,
        "jumps": jumps.table,
        "classes": jumps.classes,
    }


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    """Bytes that were no UTF-8 in the user's file become those bytes again."""
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _text(array: npt.NDArray[Any]) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")
