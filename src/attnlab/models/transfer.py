"""A model starts with the parameters of another one: the same by name, and words as words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from attnlab.data.codec import Codec
from attnlab.data.pretrained import PretrainedPieces
from attnlab.errors import UserError
from attnlab.models.tuning import lasting_names, untuned_names
from attnlab.models.units import LetteredEmbedding

READER = "reader."  # what models of all tasks have in common
SHOWN = 4

Rows = Mapping[str, Sequence[Hashable]]


@dataclass
class Taken:
    """What a model got of another one."""

    numbers: int = 0
    all_numbers: int = 0
    units: int = 0  # embedding and output rows that were matched by unit or label
    all_units: int = 0
    new: list[str] = field(default_factory=list)  # parameters without a counterpart
    unfit: list[str] = field(default_factory=list)  # name and both shapes

    def __str__(self) -> str:
        parts = list(dict.fromkeys(_part(name) for name in self.new))
        more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
        units = f", {self.units:,} of {self.all_units:,} units" if self.all_units else ""
        new = f"; new: {', '.join(parts[:SHOWN])}{more}" if parts else ""
        return f"{self.numbers:,} of {self.all_numbers:,} numbers taken{units}{new}"


@torch.no_grad()
def start_from(
    model: nn.Module, source: nn.Module, codecs: tuple[Codec, Codec], whole: bool
) -> Taken:
    """Copy parameters of the same name, in place.

    Args:
        model: gets them; it may be tuned.
        source: has them; a trained model, merged if it was tuned.
        codecs: of both, whose units and labels name the rows of embeddings and of scores.
        whole: the task is the same, so that decoder and head are taken, too.

    Raises:
        UserError: what reads the input does not fit, or nothing does.
    """
    source_values, own = source.state_dict(), model.state_dict()
    added = lasting_names(model) - {*source_values}  # which start as they are, and change no answer
    rows, source_rows = _row_names(model, codecs[0]), _row_names(source, codecs[1])
    taken = Taken()
    for name, plain in untuned_names(model).items():
        if name in added:
            continue
        values, there = own[name], source_values.get(plain)
        taken.all_numbers += values.numel()
        if there is None or not (whole or plain.startswith(READER)):
            taken.new.append(plain)
        elif plain in rows and plain in source_rows and rows[plain] != source_rows[plain]:
            _copy_rows(plain, values, rows[plain], there, source_rows[plain], taken)
        elif values.shape == there.shape:
            values.copy_(there)
            taken.numbers += values.numel()
        else:
            taken.unfit.append(_both_shapes(plain, values, there))
    lost = lasting_names(source) - {*own}
    if any(whole or name.startswith(READER) for name in lost):
        raise UserError(
            f"has {min(lost)}, which its model.tuning added and this model lacks; "
            "try: the same model/tuning="
        )
    of_reader = [each for each in taken.unfit if each.startswith(READER)]
    if of_reader:
        raise UserError(f"{of_reader[0]}; try: the settings of its model")
    unlike = {*added, *taken.new, *(each.partition(":")[0] for each in taken.unfit)}
    if all(name in unlike for name in untuned_names(model).values() if name.startswith(READER)):
        raise UserError("reads its input by another kind of model; try: the same model=")
    taken.new += [each.partition(":")[0] for each in taken.unfit]
    return taken


def _copy_rows(
    name: str,
    values: Tensor,
    rows: Sequence[Hashable],
    there: Tensor,
    source_rows: Sequence[Hashable],
    taken: Taken,
) -> None:
    """Copy the rows of units and labels that both models have."""
    if values.shape[1:] != there.shape[1:]:
        taken.unfit.append(_both_shapes(name, values, there))
        return
    number = {unit: i for i, unit in enumerate(source_rows)}
    pairs = [(i, number[unit]) for i, unit in enumerate(rows) if unit in number]
    if pairs:
        to, origin = (torch.tensor(each) for each in zip(*pairs, strict=True))
        values[to] = there[origin].to(values)
    taken.numbers += len(pairs) * values[0].numel()
    if values.dim() > 1:  # biases have the rows of their weights
        taken.units, taken.all_units = taken.units + len(pairs), taken.all_units + len(rows)


def _row_names(model: nn.Module, codec: Codec) -> dict[str, Sequence[Hashable]]:
    """The unit, label or affix that each row belongs to, by the parameter's name."""
    answers = codec.answers.vocabulary
    outside = answers.units if answers is not None else getattr(codec.answers, "labels", [])
    inside: dict[str, Sequence[Hashable]] = {}  # by the number of the embedder
    for number, name in enumerate(codec.inputs):
        vocabulary = codec.vocabularies.get(name)
        if vocabulary is not None and not isinstance(vocabulary, PretrainedPieces):
            inside[str(number)] = vocabulary.units
    names: dict[str, Sequence[Hashable]] = {}
    for place, module in model.named_modules():
        if isinstance(module, LetteredEmbedding):
            names[f"{place}.affixes.weight"] = ["", *module.known.tolist()]
        start, _, rest = place.removeprefix(READER).partition(".")
        of_embedder = place.startswith(READER) and start == "embedders"
        units = inside.get(rest.partition(".")[0], []) if of_embedder else outside
        size = getattr(module, "num_embeddings", getattr(module, "out_features", None))
        if size == len(units):
            names[f"{place}.weight"] = names[f"{place}.bias"] = units
    return names


def _both_shapes(name: str, values: Tensor, there: Tensor) -> str:
    return f"{name}: {tuple(there.shape)} there, {tuple(values.shape)} here"


def _part(name: str) -> str:
    """`reader.encoder.layers.0.norm` belongs to `reader.encoder`, `output.bias` to `output`."""
    names = name.split(".")
    return ".".join(names[:2]) if names[0] == "reader" else names[0]
