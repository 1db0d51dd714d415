"""Loads a pretrained model of the Hugging Face hub, or of a folder, with attention sites.

`transformers` lets a model call any registered function for its attention. Ours passes queries,
keys and values to an `ExternalAttention` within the calling module, so that the model's maps have
sites like any other: `encoder.self.0`, `decoder.cross.5`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.call import Call
from attnlab.attention.config import Global, NoPosition
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.attention.parts import Heads, Inputs, Shape
from attnlab.attention.scores_config import Dot, Softmax
from attnlab.config.attention import AttentionConfig
from attnlab.config.attention import Heads as HeadsConfig
from attnlab.data.pretrained import where
from attnlab.errors import UserError
from attnlab.text_files import problem

IMPLEMENTATION = "attnlab"  # the name under which our function is registered
RECORDING = "attnlab_recording"  # another one, which records the calls
CHILD = "attnlab_attention"  # the name of our attention within the calling module


class ExternalHeads(Heads):
    """Nothing is projected: that has been done."""

    def __init__(self, inputs: Inputs, *, count: int, groups: int) -> None:
        super().__init__(inputs)
        self.count = count
        width, value_width = inputs.query_dim, inputs.value_dim
        self.output_dim = count * value_width
        self.shape = Shape(inputs, count, groups, width, width, value_width)


class ExternalHeadsConfig(HeadsConfig, target=ExternalHeads):
    """No choice of a user's: whoever has the attention says how many heads there are."""

    count: int
    groups: int


class ExternalAttention(Attention):
    """Softmax attention over projected queries, keys and values."""

    def __init__(
        self, site: str, *, heads: int, groups: int, width: int, value_width: int, dropout: float
    ) -> None:
        config = AttentionConfig.model_construct(
            name="given",
            score=Dot(kind="dot"),
            normalizer=Softmax(kind="softmax"),
            structure=Global(kind="global"),
            position=NoPosition(kind="none"),
            heads=ExternalHeadsConfig(kind="given", count=heads, groups=groups),
            kernel="auto",
            dropout=dropout,
        )
        sizes = {"query_dim": width, "key_dim": width, "value_dim": value_width}
        super().__init__(config, **sizes, output_dim=None, site=site)

    def forward(  # type: ignore[override]  # what is given here is what our own would project
        self, query: Tensor, key: Tensor, value: Tensor, mask: Mask, bias: Tensor | None = None
    ) -> Tensor:
        """batch x heads x queries x width; all three are given as heads x length x width.

        Fewer queries than keys are the last ones, where queries and keys are one sequence.
        """
        start = key.shape[2] - query.shape[2] if self.role == "self" else 0
        call = Call(
            parts=self.parts,
            query_input=query,
            query_heads=query,
            query=query,
            key=key,
            value=value,
            mask=mask,
            start=start,
            dropout=self.dropout if self.training else 0.0,
            bias=bias,
        )
        call.kernel = self.kernels.choose(call)
        for observer in self.attached.observers:
            observer.record(call.behind(self.prompt))
        return self.attend(call)


@dataclass(frozen=True)
class Source:
    """A model's name, and whether its weights are pretrained or random."""

    name: str
    revision: str | None
    weights: str  # pretrained | random


def load(source: Source) -> nn.Module:
    """The model: encoder, or encoder and decoder; each of its attentions gets a site."""
    config = _read(source, "config", lambda auto: auto.AutoConfig.from_pretrained)
    _register(IMPLEMENTATION, attend)
    seq2seq = bool(config.is_encoder_decoder)
    model = _model(source, config, "AutoModelForSeq2SeqLM" if seq2seq else "AutoModel")
    if getattr(model, "pooler", None) is not None:  # no task would train it
        model.pooler = None  # type: ignore[assignment]
    for module in model.modules():
        if getattr(module, "layerdrop", 0):  # a skipped layer has no map
            module.layerdrop = 0.0  # type: ignore[assignment]
    _name_sites(model, source.name)
    return model


def encoder_of(model: nn.Module) -> Any:
    """The encoder, which is the model itself where it has no decoder."""
    config: Any = model.config
    return model.get_encoder() if config.is_encoder_decoder else model  # type: ignore[operator]


def _model(source: Source, config: Any, kind: str) -> Any:
    if source.weights == "random":
        import transformers

        auto = getattr(transformers, kind)
        return auto.from_config(config, attn_implementation=IMPLEMENTATION)
    model, report = _read(
        source,
        "weights",
        lambda library: getattr(library, kind).from_pretrained,
        attn_implementation=IMPLEMENTATION,
        dtype=torch.float32,
        output_loading_info=True,
    )
    lacking = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if lacking:  # the library would make them up
        raise UserError(
            f"model.name: '{source.name}' lacks {len(lacking)} weights of its model, such as "
            f"{lacking[0]}; try: model.weights=random"
        )
    return model.train()


def _read(source: Source, what: str, reader: Any, **settings: Any) -> Any:
    """The result of `from_pretrained`; a `UserError` if it cannot find or read the model."""
    try:
        import transformers
    except ImportError:
        raise UserError("model.name: needs transformers; try: pip install 'attnlab[hf]'") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        settings |= where(source.name)
        return reader(transformers)(
            source.name, revision=source.revision, trust_remote_code=False, **settings
        )
    except Exception as error:  # of any kind, where a file of the model is damaged
        raise UserError(
            f"model.name: no {what} in '{source.name}', neither a folder nor on the hub: "
            f"{problem(error)}"
        ) from error


def _register(name: str, function: Callable[..., Any]) -> None:
    """Register an attention function, with masks that are True where a query may attend."""
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
    """The function that `transformers` calls.

    Takes batch x heads x length x width, gives batch x queries x heads x width. Without a mask all
    keys are allowed or, in a causal module, those up to the query.
    """
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    causal = causal and attention_mask is None and query.shape[2] > 1
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attention: ExternalAttention = getattr(module, CHILD)
    mask = Mask(custom=attention_mask, causal=causal)
    context = attention(query * scale, key, value, mask, position_bias)
    return context.transpose(1, 2), None


@dataclass
class AttentionCall:
    """A recorded call of attention: the calling module and the sizes."""

    module: nn.Module
    heads: int
    groups: int
    width: int
    value_width: int
    keys: int
    dropout: float

    def attention(self, site: str) -> ExternalAttention:
        """An attention of these sizes."""
        return ExternalAttention(
            site,
            heads=self.heads,
            groups=self.groups,
            width=self.width,
            value_width=self.value_width,
            dropout=self.dropout,
        )


@dataclass
class _Recorder:
    """Takes the place of attention and records its calls."""

    calls: list[AttentionCall] = field(default_factory=list)

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
        self.calls.append(AttentionCall(module, *sizes, dropout))
        batch, heads, queries, _ = query.shape
        return value.new_zeros(batch, queries, heads, value.shape[3]), None


READ, WRITTEN = 2, 3  # different lengths of the texts that are read and written to record calls


def _name_sites(model: nn.Module, name: str) -> None:
    """Add an attention with a site to each module that calls attention."""
    numbers: dict[str, int] = {}
    modules: set[nn.Module] = set()
    for stem, call in _recorded_calls(model):
        if call.module in modules:
            raise UserError(
                f"model.name: '{name}' uses one attention in several layers, which have no maps of "
                "their own; models with a module for each layer have"
            )
        modules.add(call.module)
        number = numbers[stem] = numbers.get(stem, -1) + 1
        call.module.add_module(CHILD, call.attention(f"{stem}.{number}"))
    if not modules:
        kind = type(model).__name__
        raise UserError(f"model.name: {kind} does not let others compute its attention")


@torch.no_grad()
def _recorded_calls(model: Any) -> Iterator[tuple[str, AttentionCall]]:
    """Every call of attention, by the stem of its site, while one text is read and one written."""
    from transformers.modeling_outputs import BaseModelOutput

    encoder, recorder = encoder_of(model), _Recorder()
    _register(RECORDING, recorder)
    model.set_attn_implementation(RECORDING)
    mask = torch.ones(1, READ, dtype=torch.long)
    states = torch.zeros(1, READ, model.get_input_embeddings().embedding_dim)
    with torch.random.fork_rng(devices=[]):  # in training mode, where weights are dropped
        states = encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
        yield from (("encoder.self", each) for each in recorder.calls)
        recorder.calls.clear()
        if model.config.is_encoder_decoder:
            units = torch.zeros(1, WRITTEN, dtype=torch.long)
            outputs = BaseModelOutput(last_hidden_state=states)
            model(encoder_outputs=outputs, attention_mask=mask, decoder_input_ids=units)
            for each in recorder.calls:
                yield ("decoder.cross" if each.keys == READ else "decoder.self"), each
    model.set_attn_implementation(IMPLEMENTATION)
