"""The texts that `attnlab predict` chooses from, where the task is to retrieve one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from attnlab.config.dataset import Dataset
from attnlab.data.answers import Units
from attnlab.data.batch import Batch, Padded, pad
from attnlab.data.prepared import Prepared
from attnlab.datasets.readers.files import BadRowError
from attnlab.errors import UserError
from attnlab.models.retriever import Retriever
from attnlab.stages.requests import in_units, wording_of

AT_ONCE = 256  # texts that are read together


@dataclass(frozen=True)
class Replies:
    """Texts with their vectors, made once."""

    model: Retriever
    texts: list[str]
    vectors: Tensor  # texts x width

    def scores(self, batch: Batch) -> Tensor:
        """Of all texts for each question: batch x texts."""
        return self.model.scores(self.model.asked(batch), self.vectors)


def replies_of(
    file: str | None, model: nn.Module, dataset: Dataset, prepared: Prepared
) -> Replies | None:
    """Those of a file, or all that training has seen; None where nothing is retrieved."""
    if not isinstance(model, Retriever):
        if file:
            raise UserError("--replies: this run does not choose among texts; try it without")
        return None
    answers = prepared.codec.answers
    assert isinstance(answers, Units)
    told = _lines(Path(file), dataset, answers) if file else _known(prepared)
    different = {tuple(words): None for words in told}  # in their order
    return _read(model, answers, list(different))


def _known(prepared: Prepared) -> Iterator[Iterable[str]]:
    """The answers of the training examples."""
    return (example.answer for example in prepared.examples("train"))  # type: ignore[misc]


def _lines(file: Path, dataset: Dataset, answers: Units) -> Iterator[list[str]]:
    """The lines of a file as the words of answers."""
    if not file.is_file():
        raise UserError(f"--replies: no file {file}")
    wording = wording_of(dataset)
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield in_units(line, wording, answers.vocabulary, "line")
        except BadRowError as error:
            raise UserError(f"--replies: {file}:{number}: {error}") from None


@torch.no_grad()
def _read(model: Retriever, answers: Units, texts: list[tuple[str, ...]]) -> Replies:
    device = model.log_scale.device
    encoded = [answers.spell(words) for words in texts]
    vectors: list[Tensor] = []
    for start in range(0, len(encoded), AT_ONCE):
        some = pad(encoded[start : start + AT_ONCE])
        vectors.append(model.said(Padded(some.values.to(device), some.mask.to(device))))
    return Replies(model, [answers.vocabulary.joint.join(t) for t in texts], torch.cat(vectors))
