"""Which parameters of a model are trained: `model.tuning`, by kind.

Each kind changes a model in place, before training and before a checkpoint is loaded. `merge`
makes a model that LoRA tuned one of the same layers as an untuned one; the rest stays.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from torch import nn

from attnlab.attention.heads import Projected
from attnlab.attention.mechanism import Attention
from attnlab.attention.taps import sites
from attnlab.config.model import Model
from attnlab.errors import UserError
from attnlab.models.builder import Decoder
from attnlab.models.embedders import ImageEmbedder
from attnlab.models.memory import Reader
from attnlab.models.transformer_layers import FeedForward
from attnlab.models.tuned_layers import AdapterLinear, LoraLinear, Prefix, add_prompt

EMBEDDERS = -1  # in the place of a layer's number
MERGED = ("down", "up")  # the matrices of `LoraLinear`


def tune(model: nn.Module, config: Model) -> nn.Module:
    """The model itself, of which what the config says is trained, as fast as it says."""
    for part in body(model):
        part.lr_factor = config.lr_factor  # type: ignore[assignment]
    config.tuning.build().apply(model)
    return model


class Full:
    """Everything is trained."""

    def apply(self, model: nn.Module) -> None:
        """Change the model in place."""
        self.freeze(model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            kind = type(self).__name__.lower()
            raise UserError(
                f"model.tuning: '{kind}' leaves nothing to train: the model has no head of its "
                "own; try: model/tuning=lora, model/tuning=full"
            )

    def freeze(self, model: nn.Module) -> None:
        """Exclude parameters from training."""
        return


class Layers(Full):
    """Embedders stay as they are."""

    def freeze(self, model: nn.Module) -> None:
        for reader in _all(model, Reader):
            reader.embedders.requires_grad_(False)


class Head(Full):
    """Embedders, encoder and decoder stay as they are."""

    def freeze(self, model: nn.Module) -> None:
        for part in body(model):
            part.requires_grad_(False)


class BitFit(Head):
    """Of embedders, encoder and decoder biases alone are trained."""

    def freeze(self, model: nn.Module) -> None:
        super().freeze(model)
        for part in body(model):
            for name, parameter in part.named_parameters():
                if "bias" in name.rpartition(".")[2]:
                    parameter.requires_grad_(True)


class Added(Head):
    """Of embedders, encoder and decoder only what is added to some of their layers is trained."""

    needs: ClassVar[str]  # the message where a model has no such layers

    def freeze(self, model: nn.Module) -> None:
        super().freeze(model)
        layers = self.layers(model)
        for layer in layers:
            self.extend(layer)
        if not layers:
            raise UserError(f"model.tuning: {self.needs}")

    @abstractmethod
    def layers(self, model: nn.Module) -> Collection[nn.Module]:
        """Those that get something of their own."""

    @abstractmethod
    def extend(self, layer: Any) -> None:
        """Add to one of them, in place."""


class Lora(Added):
    """Of embedders, encoder and decoder only what is added to linear layers is trained."""

    needs = (
        "'lora' finds no attention with projections and no feed-forward layer in encoder and "
        "decoder; try: model/tuning=full, or model=transformer"
    )

    def __init__(self, *, rank: int, alpha: float, dropout: float) -> None:
        self.rank, self.alpha, self.dropout = rank, alpha, dropout

    def layers(self, model: nn.Module) -> Collection[nn.Module]:
        return [*_backbones(model), *_linear_layers(model)]

    def extend(self, layer: Any) -> None:
        if isinstance(layer, nn.Linear):
            LoraLinear.of(layer, self.rank, self.alpha / self.rank, self.dropout)
        else:
            self._by_peft(layer)

    def _by_peft(self, backbone: nn.Module) -> None:
        try:
            import peft
        except ImportError:
            raise UserError(
                "model.tuning: 'lora' needs peft; try: pip install 'attnlab[hf]'"
            ) from None
        settings = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # which need not be whole
            lora_dropout=self.dropout,
            target_modules="all-linear",
        )
        peft.inject_adapter_in_model(settings, backbone)


class Adapters(Added):
    """Of embedders, encoder and decoder only what follows each feed-forward block is trained."""

    needs = (
        "'adapters' finds no feed-forward block in encoder and decoder; "
        "try: model/tuning=full, or model=transformer"
    )

    def __init__(self, *, width: int) -> None:
        self.width = width

    def layers(self, model: nn.Module) -> Collection[nn.Module]:
        own = (block[-1] for part in body(model) for block in _all(part, FeedForward))
        return list(dict.fromkeys([*own, *_narrowing(model)]))

    def extend(self, layer: Any) -> None:
        AdapterLinear.of(layer, self.width)


class Prefixes(Added):
    """Of embedders, encoder and decoder only keys and values beside those of the input are."""

    needs = (
        "'prefix' finds no attention in encoder and decoder whose queries are independent; "
        "try: model/tuning=full, or model=transformer"
    )

    def __init__(self, *, length: int) -> None:
        self.length = length

    def layers(self, model: nn.Module) -> Collection[nn.Module]:
        inside = {each for part in body(model) for each in _all(part, Attention)}
        return [each for each in sites(model).values() if each in inside and not each.recurrent]

    def extend(self, layer: Any) -> None:
        layer.prefix = Prefix(layer, self.length)


class Prompts(Head):
    """Of embedders, encoder and decoder only vectors that the encoder reads first are trained."""

    def __init__(self, *, length: int) -> None:
        self.length = length

    def freeze(self, model: nn.Module) -> None:
        super().freeze(model)
        for reader in _all(model, Reader):
            encoder = reader.encoder
            found = sites(encoder).values()
            packed, causal = getattr(encoder, "packed", False), reader.causal
            picture = isinstance(reader.embedder, ImageEmbedder)
            if not found or len(reader.names) > 1 or packed or causal or picture:
                raise UserError(
                    "model.tuning: 'prompt' stands before one text or sound that an encoder with "
                    "self-attention reads, neither packed nor causal; try: model/tuning=prefix"
                )
            add_prompt(encoder, found, self.length, reader.width)


def body(model: nn.Module) -> list[nn.Module]:
    """What may have been trained before: embedders, encoders, decoders. The rest is the head."""
    return [*_all(model, Reader), *_all(model, Decoder)]


def merge(model: nn.Module) -> None:
    """Add what was trained beside linear layers to their weights, in place."""
    for layer in _all(model, LoraLinear):
        layer.merge()
    for backbone in _backbones(model):
        if not any(hasattr(module, "base_layer") for module in backbone.modules()):
            continue
        from peft.tuners.tuners_utils import BaseTunerLayer

        adapted = [(n, m) for n, m in backbone.named_modules() if isinstance(m, BaseTunerLayer)]
        for name, layer in adapted:
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, layer.get_base_layer())


def untuned_names(model: nn.Module) -> dict[str, str]:
    """The names of a model's weights with those that they have once the model is merged."""
    own = {
        f"{n}.{each}"
        for n, m in model.named_modules()
        if isinstance(m, LoraLinear)
        for each in MERGED
    }
    names = [name for name in model.state_dict() if name not in own and ".lora_" not in name]
    return {name: name.replace(".base_layer.", ".") for name in names}


def lasting_names(model: nn.Module) -> set[str]:
    """The names of parameters that tuning added, and that no merging removes."""
    parameters = dict(model.named_parameters())
    prefixes = {n for n, m in model.named_modules() if isinstance(m, Prefix)}
    added = {n for n in parameters if ".adapter_" in n or n.endswith(".encoder.prompt")}
    return added | {n for n in parameters if n.rpartition(".")[0] in prefixes}


def from_the_top(model: nn.Module) -> list[list[nn.Parameter]]:
    """What is trained of the encoder, layer by layer from the top, at last of the embedders.

    The number of a layer is the first in a parameter's name; what stands behind the last layer
    belongs to it, and what stands before the first one to the embedders.
    """
    groups: dict[int, list[nn.Parameter]] = {}
    for reader in _all(model, Reader):
        number = EMBEDDERS
        for name, parameter in reader.encoder.named_parameters():
            found = re.search(r"(?<!\w)\d+(?!\w)", name)
            number = int(found[0]) if found else number
            groups.setdefault(number, []).append(parameter)
        groups.setdefault(EMBEDDERS, []).extend(reader.embedders.parameters())
    learning = ([p for p in groups[i] if p.requires_grad] for i in sorted(groups, reverse=True))
    return [group for group in learning if group]


def trained_parameters(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _all(model: nn.Module, *kinds: type[Any]) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def _backbones(model: nn.Module) -> list[nn.Module]:
    """Pretrained models within ours that are in no other one."""
    found = {m: None for m in model.modules() if hasattr(m, "get_input_embeddings")}
    inner = {m for each in found for m in each.modules() if m is not each}
    return [each for each in found if each not in inner]


def _linear_layers(model: nn.Module) -> Iterator[nn.Linear]:
    """Projections of attention, and layers of feed-forward blocks, of encoders and decoders."""
    for part in body(model):
        for block in _all(part, Projected, FeedForward):
            yield from (layer for layer in block.children() if type(layer) is nn.Linear)


def _narrowing(model: nn.Module) -> Iterator[nn.Linear]:
    """Of pretrained models, the linear layers at the end of feed-forward blocks."""
    for backbone in _backbones(model):
        width = backbone.config.hidden_size  # type: ignore[union-attr]
        for layer in _all(backbone, nn.Linear):
            if layer.in_features > layer.out_features == width:
                yield layer
