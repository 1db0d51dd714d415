"""`Interception`: sees every call of scaled dot product attention that a model makes.

While it is open, each module of the model notes that it runs (forward hooks), and a torch function
mode of this thread meets the calls of `scaled_dot_product_attention` and
`multi_head_attention_forward` that are made in between. The fused kernels run as before.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from attnlab.attention.dot_product import DotProductCall
from attnlab.attention.mechanism import Attention
from attnlab.attention.taps import MapChange
from attnlab.attention.tensors import repeat_groups
from attnlab.watching.sites import named_modules


@dataclass
class Running:
    """A module in its forward pass."""

    name: str  # as in `named_modules`
    module: nn.Module
    cross: bool  # whether it was handed the states of another sequence


@dataclass
class Arguments:
    """Those of `scaled_dot_product_attention`."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    def as_call(self) -> DotProductCall:
        """The same with four dimensions."""
        query, key, mask = self.query, self.key, self.attn_mask
        return DotProductCall(
            _as_four(query),
            _as_four(key),
            1 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale,
            self.is_causal,
            None if mask is None else _mask_as_four(mask, query, key),
        )


class Observer(Protocol):
    """What is notified of passes and calls."""

    def begin_pass(self) -> None:
        """A forward pass of the model, or of a part of it that is called by itself, begins."""
        ...

    def see(self, running: Running, call: DotProductCall, role: str | None) -> MapChange | None:
        """A call; what is returned changes its map."""
        ...


# Keyword arguments by which modules of transformers get the other sequence.
CROSS_ARGUMENTS = ("encoder_hidden_states", "key_value_states")


class Interception(TorchFunctionMode):
    """Context manager around forward passes of one model, in one thread."""

    def __init__(self, model: nn.Module, observer: Observer) -> None:
        super().__init__()
        self.model, self.observer = model, observer
        self.running: list[Running] = []
        self.handles: list[RemovableHandle] = []
        self.thread = 0

    def __enter__(self) -> Interception:
        self.thread = threading.get_ident()
        try:
            for name, module in named_modules(self.model):
                if module is not self.model and _calls_nobody(module):
                    continue
                self.handles.append(
                    module.register_forward_pre_hook(self._enters(name), with_kwargs=True)
                )
                self.handles.append(module.register_forward_hook(self._leaves, always_call=True))
        except BaseException:
            self._unhook()
            raise
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._unhook()
        super().__exit__(*error)

    def _unhook(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.running.clear()

    def _enters(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if threading.get_ident() != self.thread:
                return
            if not self.running:
                self.observer.begin_pass()
            cross = any(kwargs.get(key) is not None for key in CROSS_ARGUMENTS)
            self.running.append(Running(name, module, cross))

        return enter

    def _leaves(self, module: nn.Module, *rest: Any) -> None:
        if threading.get_ident() == self.thread and self.running:
            self.running.pop()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self._watches():
            return self._attend(None, Arguments(*args, **kwargs))
        if func is F.multi_head_attention_forward and self._watches():
            return self._multi_head(*args, **kwargs)
        return func(*args, **kwargs)

    def _watches(self) -> bool:
        """Whether a module of this model runs; our own `Attention` tells of its calls itself."""
        return bool(self.running) and not isinstance(self.running[-1].module, Attention)

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """`nn.MultiheadAttention`; weights that it is asked for are made of the call."""
        settings = SIGNATURE.bind(*args, **kwargs)
        settings.apply_defaults()
        wanted: dict[str, Any] = settings.arguments
        role = "self" if wanted["query"] is wanted["key"] else "cross"
        calls: list[DotProductCall] = []

        def attend(*args: Any, **kwargs: Any) -> Tensor:
            return self._attend(role, Arguments(*args, **kwargs), calls)

        need_weights, wanted["need_weights"] = wanted["need_weights"], False
        context, _ = _with_attention(attend)(*settings.args, **settings.kwargs)
        if not need_weights:
            return context, None
        weights = calls[0].weights().to(context.dtype)  # batch x heads x queries x keys
        weights = weights.mean(1) if wanted["average_attn_weights"] else weights
        return context, weights if wanted["query"].dim() == 3 else weights[0]

    def _attend(
        self, role: str | None, arguments: Arguments, calls: list[DotProductCall] | None = None
    ) -> Tensor:
        """The attention itself; `calls`, if there, gets the call."""
        running = self.running[-1]
        call = arguments.as_call()
        if _packed_groups(running.module, arguments.query, arguments.key):
            call = _unpacked(call)
        if calls is not None:
            calls.append(call)
        change = self.observer.see(running, call, role)
        if change is None:
            return F.scaled_dot_product_attention(**vars(arguments))
        weights = F.dropout(change(call.weights(), call.allowed()), arguments.dropout_p)
        context = weights.to(arguments.value.dtype) @ repeat_groups(
            _as_four(arguments.value), weights.shape[1]
        )
        return context.reshape(*arguments.query.shape[:-1], arguments.value.shape[-1])


SIGNATURE = inspect.signature(F.multi_head_attention_forward)


def _with_attention(attend: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """torch's `multi_head_attention_forward` with another function in the place of the fused one.

    Its own module's name is left alone, since other threads use it.
    """
    plain: Any = F.multi_head_attention_forward
    names = {
        **plain.__globals__,
        "scaled_dot_product_attention": attend,
        "has_torch_function": lambda _: False,  # an outer watch sees the attention inside
    }
    made = FunctionType(
        plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__
    )
    made.__kwdefaults__ = plain.__kwdefaults__
    return made


def _calls_nobody(module: nn.Module) -> bool:
    """Layers of torch itself, of which `MultiheadAttention` alone attends."""
    own = type(module).__module__.startswith("torch.nn.modules.")
    return own and not isinstance(module, nn.MultiheadAttention)


def _as_four(tensor: Tensor) -> Tensor:
    """batch x heads x length x width, however many dimensions stand before length and width."""
    if tensor.dim() > 4:
        return tensor.flatten(0, -4)
    if tensor.dim() == 4:
        return tensor
    return tensor[:, None] if tensor.dim() == 3 else tensor[None, None]


def _mask_as_four(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """The same for a mask, which may have fewer dimensions and sizes of one."""
    if mask.dim() <= 2:
        return mask.expand(query.shape[-2], key.shape[-2])[None, None]
    if query.dim() <= 4:
        return _as_four(mask) if mask.dim() == query.dim() else mask.expand(1, *mask.shape)
    return _as_four(mask.expand(*query.shape[:-2], *mask.shape[-2:]))


def _packed_groups(module: nn.Module, query: Tensor, key: Tensor) -> bool:
    """Whether transformers has put the heads of a group, for one query, in the place of queries."""
    shared = getattr(module, "num_key_value_groups", 1)
    heads = getattr(getattr(module, "config", None), "num_attention_heads", 0)
    packed = query.dim() == 4 and query.shape[1:3] == (key.shape[1], shared)
    return shared > 1 and packed and heads == query.shape[1] * shared


def _unpacked(call: DotProductCall) -> DotProductCall:
    """batch x groups x heads of a group x width -> batch x heads x 1 x width."""
    mask = call.mask
    if mask is not None and mask.shape[1] > 1:
        mask = mask.flatten(1, 2)[:, :, None]
    return DotProductCall(call.query.flatten(1, 2)[:, :, None], call.key, call.scale, False, mask)
