"""A pretrained model of the Hugging Face hub, or of a folder, whose attention is ours to watch.

`transformers` lets a model call any registered function for its attention. Ours hands queries,
keys and values to a `ExternalAttention` that stands in the very module which calls, so that the
model's maps have sites like any other: `encoder.self.0`, `decoder.cross.5`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.external import ExternalAttention
from attnlab.attention.mask import Mask
from attnlab.data.pretrained import where
from attnlab.errors import UserError

IMPLEMENTATION = "attnlab"  # the name under which our function is registered
FINDING = "attnlab_finding"
CHILD = "attnlab_attention"  # the name of ours within the module that calls it


@dataclass(frozen=True)
class Source:
    """Which model, and whether with its weights or with random ones."""

    name: str
    revision: str | None
    weights: str  # pretrained | random


def load(source: Source) -> nn.Module:
    """The model: its encoder, or encoder and decoder; every attention of it has a site."""
    config = _read(source, "config", lambda auto: auto.AutoConfig.from_pretrained)
    _register(IMPLEMENTATION, attend)
    seq2seq = bool(config.is_encoder_decoder)
    model = _model(source, config, "AutoModelForSeq2SeqLM" if seq2seq else "AutoModel")
    if getattr(model, "pooler", None) is not None:  # it would never be trained
        model.pooler = None  # type: ignore[assignment]
    for module in model.modules():
        if getattr(module, "layerdrop", 0):  # a layer that is skipped has no map
            module.layerdrop = 0.0  # type: ignore[assignment]
    _name_sites(model, source.name)
    return model


def encoder_of(model: nn.Module) -> Any:
    """What reads: the model itself where it only reads."""
    config: Any = model.config
    return model.get_encoder() if config.is_encoder_decoder else model  # type: ignore[operator]


def _model(source: Source, config: Any, kind: str) -> Any:
    if source.weights == "random":
        import transformers

        auto = getattr(transformers, kind)
        return auto.from_config(config, attn_implementation=IMPLEMENTATION)
    found = _read(
        source,
        "weights",
        lambda library: getattr(library, kind).from_pretrained,
        attn_implementation=IMPLEMENTATION,
        dtype=torch.float32,
    )
    return found.train()


def _read(source: Source, what: str, reader: Any, **settings: Any) -> Any:
    """Whatever `from_pretrained` gives; what it cannot find or read is the user's to mend."""
    try:
        import transformers
    except ImportError:
        raise UserError("model.name: needs transformers; try: pip install 'attnlab[hf]'") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        settings |= where(source.name)
        return reader(transformers)(source.name, revision=source.revision, **settings)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"model.name: no {what} in '{source.name}', neither a folder nor on the hub: {reason}"
        ) from None


def _register(name: str, function: Callable[..., Any]) -> None:
    """Make an attention known, with masks that say True where a query may look."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(name, function)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, sdpa_mask)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """What `transformers` calls: batch x heads x length x width to batch x queries x heads x width.

    No mask means that every key may be looked at, or, in a causal module, none after the query.
    """
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    causal = causal and attention_mask is None and query.shape[2] > 1
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attention: ExternalAttention = getattr(module, CHILD)
    mask = Mask(custom=attention_mask, causal=causal)
    context = attention(query * scale, key, value, mask, position_bias)
    return context.transpose(1, 2), None


@dataclass
class Found:
    """An attention that was called: by which module, and of what sizes."""

    module: nn.Module
    heads: int
    groups: int
    width: int
    value_width: int
    keys: int
    dropout: float

    def named(self, site: str) -> ExternalAttention:
        return ExternalAttention(
            site,
            heads=self.heads,
            groups=self.groups,
            width=self.width,
            value_width=self.value_width,
            dropout=self.dropout,
        )


@dataclass
class _Finder:
    """In the place of attention: notes who calls, and with what."""

    found: list[Found] = field(default_factory=list)

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        dropout: float = 0.0,
        **rest: Any,
    ) -> tuple[Tensor, None]:
        sizes = query.shape[1], key.shape[1], query.shape[3], value.shape[3], key.shape[2]
        self.found.append(Found(module, *sizes, dropout))
        batch, heads, queries, _ = query.shape
        return value.new_zeros(batch, queries, heads, value.shape[3]), None


READ, WRITTEN = 2, 3  # lengths of the texts on which sites are found, to be told apart


def _name_sites(model: nn.Module, name: str) -> None:
    """Put an attention of ours into each module that calls one, named by where it stands."""
    numbers: dict[str, int] = {}
    seen: set[nn.Module] = set()
    for stem, found in _found(model):
        if found.module in seen:
            raise UserError(
                f"model.name: '{name}' uses one attention in several layers, which have no maps of "
                "their own; models with a module for each layer have"
            )
        seen.add(found.module)
        number = numbers[stem] = numbers.get(stem, -1) + 1
        found.module.add_module(CHILD, found.named(f"{stem}.{number}"))
    if not seen:
        kind = type(model).__name__
        raise UserError(f"model.name: {kind} does not let others compute its attention")


@torch.no_grad()
def _found(model: Any) -> Iterator[tuple[str, Found]]:
    """Every attention in the order of calls, while a text of two units is read and one written."""
    from transformers.modeling_outputs import BaseModelOutput

    encoder, finder = encoder_of(model), _Finder()
    _register(FINDING, finder)
    model.set_attn_implementation(FINDING)
    mask = torch.ones(1, READ, dtype=torch.long)
    states = torch.zeros(1, READ, model.get_input_embeddings().embedding_dim)
    with torch.random.fork_rng(devices=[]):  # in training mode, where weights are dropped
        read = encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
        yield from (("encoder.self", each) for each in finder.found)
        finder.found.clear()
        if model.config.is_encoder_decoder:
            units = torch.zeros(1, WRITTEN, dtype=torch.long)
            outputs = BaseModelOutput(last_hidden_state=read)
            model(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=units)
            for each in finder.found:
                yield ("decoder.cross" if each.keys == READ else "decoder.self"), each
    model.set_attn_implementation(IMPLEMENTATION)
