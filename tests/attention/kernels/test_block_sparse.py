"""Attention over listed blocks: right, differentiable, and with a way round for every lack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnlab.attention.blocks import Blocks, blocks_of, count
from attnlab.attention.kernels import block_sparse, native
from attnlab.attention.kernels.block_sparse import BlockSparse, attend, gathered
from attnlab.attention.kernels.fused import block_mask
from attnlab.attention.mask import Mask, Pattern, Window
from attnlab.attention.mechanism import Attention
from attnlab.attention.rules import BigBird, Block, Dilated, Strided
from tests.attention.kernels.test_additive import _peak_mib
from tests.attention.mechanisms import DIM, attention, named
from tests.attention.test_blocks import allowed_pairs

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(native.library() is None, reason="there is no C compiler")
SHAPES = [  # batch, maps, groups, queries, keys, width, width of values, block
    (2, 2, 2, 100, 100, 16, 16, 32),
    (1, 4, 2, 70, 130, 20, 40, 16),
    (2, 3, 1, 64, 64, 64, 32, 64),
    (1, 1, 1, 5, 200, 8, 8, 128),
    (1, 4, 4, 130, 33, 33, 7, 48),
]
WAYS = [pytest.param(attend, id="compiled", marks=needs_compiler), gathered]


def _draw(shape: tuple[int, ...], scale: float = 1.0) -> list[Tensor]:
    """Query, key, value and the gradients of context and lse, in float64."""
    batch, maps, groups, queries, keys, width, value_width, _ = shape
    torch.manual_seed(0)
    drawn = [
        torch.randn(batch, heads, length, size, dtype=torch.float64)
        for heads, length, size in (
            (maps, queries, width),
            (groups, keys, width),
            (groups, keys, value_width),
            (maps, queries, value_width),
        )
    ]
    return [drawn[0] * scale, *drawn[1:], torch.randn(batch, maps, queries, dtype=torch.float64)]


def _listed(shape: tuple[int, ...], share: float = 0.6) -> Blocks:
    """Random pairs, of each example and map."""
    batch, maps, _, queries, keys, *_, size = shape
    torch.manual_seed(1)
    custom = torch.rand(batch, maps, queries, keys) < share
    custom[:, :, :size, : size // 2] = True
    custom[:, :, : size // 2, size:] = False  # some blocks are empty, some queries have few keys
    custom[:, :, 3] = False  # and one has none
    return blocks_of(Mask(custom=custom), 0, queries, keys, size, CPU)[0]


def _formula(
    query: Tensor, key: Tensor, value: Tensor, blocks: Blocks, scale: float, real: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Contexts, sums of exponentials and weights by the whole matrix."""
    maps = query.shape[1]
    key, value = (t.repeat_interleave(maps // t.shape[1], 1) for t in (key, value))
    queries, keys = query.shape[2], key.shape[2]
    each = [_example(blocks, n) for n in range(len(blocks.starts))]
    allowed = torch.stack([allowed_pairs(one, queries, keys) > 0 for one in each])
    if real is not None:
        allowed = allowed & real[:, None, None]
    logits = (query @ key.mT * scale).masked_fill(~allowed, -1e30)
    weights = logits.softmax(-1) * allowed
    lse = logits.logsumexp(-1).masked_fill(~allowed.any(-1), -1e30)
    return weights @ value, lse, weights


def _example(blocks: Blocks, number: int) -> Blocks:
    return replace(blocks, starts=blocks.starts[number : number + 1])


def _all(
    run: object, drawn: list[Tensor], blocks: Blocks, real: Tensor | None, dtype: torch.dtype
) -> list[Tensor]:
    """Contexts, sums and the gradients of query, key and value."""
    leaves = [t.to(dtype).requires_grad_() for t in drawn[:3]]
    context, lse, _ = run(*leaves, blocks, 0.3, real)  # type: ignore[operator]
    total = (context * drawn[3].to(dtype)).sum() + (lse * drawn[4].to(dtype)).sum()
    grads = torch.autograd.grad(total, leaves)
    return [t.detach().double() for t in (context, lse, *grads)]


@pytest.mark.parametrize("run", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padded", [False, True])
def test_contexts_and_gradients(
    run: object, shape: tuple[int, ...], dtype: torch.dtype, padded: bool
) -> None:
    drawn, blocks = _draw(shape), _listed(shape)
    real = torch.rand(shape[0], shape[4]) > 0.3
    real[0, : shape[-1]] = False  # a whole block of padding
    real = real if padded else None
    expected = _all(_formula, drawn, blocks, real, torch.float64)
    found = _all(run, drawn, blocks, real, dtype)
    bounds = [1e-5, 1e-5, 1e-4, 1e-4, 1e-4] if dtype == torch.float32 else [1e-11] * 5
    for one, other, bound in zip(found, expected, bounds, strict=True):
        torch.testing.assert_close(one, other, atol=bound, rtol=bound)


def test_blocks_of_another_size_are_gathered() -> None:
    shape = (*SHAPES[0][:-1], 24)
    drawn, blocks = _draw(shape), _listed(shape)
    expected = _all(_formula, drawn, blocks, None, torch.float64)
    for one, other in zip(_all(attend, drawn, blocks, None, torch.float64), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_of_another_length_are_refused() -> None:
    drawn, blocks = _draw(SHAPES[0]), _listed(SHAPES[1])
    with pytest.raises(ValueError, match="do not fit 100 x 100"):
        attend(*drawn[:3], blocks=blocks, scale=0.3)


@pytest.mark.parametrize("run", WAYS)
def test_masses_are_those_of_the_weights(run: object) -> None:
    shape = SHAPES[0]
    drawn, blocks = _draw(shape), _listed(shape)
    weights = _formula(*drawn[:3], blocks=blocks, scale=0.3, real=None)[2]
    mass = run(*drawn[:3], blocks, 0.3, None).mass  # type: ignore[operator]
    for row in range(count(100, 32)):
        for column in range(count(100, 32)):
            part = weights[:, :, row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
            torch.testing.assert_close(mass[:, :, row, column], part.sum(-1).mean(-1))


@needs_compiler
def test_gradcheck() -> None:
    shape = (1, 2, 1, 20, 24, 3, 2, 16)
    leaves = [t.requires_grad_() for t in _draw(shape)[:3]]
    blocks = _listed(shape)

    def both(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        context, lse, _ = attend(*leaves, blocks=blocks, scale=0.5)
        return context, lse.clamp_min(-100)

    torch.autograd.gradcheck(both, leaves)


@needs_compiler
@pytest.mark.parametrize("scale", [1e-3, 30.0, 1e3])
def test_logits_of_any_size(scale: float) -> None:
    """Finite and right however far apart logits are."""
    shape = SHAPES[0]
    drawn, blocks = _draw(shape, scale), _listed(shape)
    expected = _all(_formula, drawn, blocks, None, torch.float64)
    found = _all(attend, drawn, blocks, None, torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, atol=2e-4 * max(1, scale), rtol=1e-3)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_threads_share_the_work(threads: int, shape: tuple[int, ...]) -> None:
    drawn, blocks = _draw(shape), _listed(shape)
    expected = _all(_formula, drawn, blocks, None, torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = _all(attend, drawn, blocks, None, torch.float64)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)


def test_work_is_divided_where_there_are_few_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert block_sparse._pieces(problems=8, blocks=100) == 1
    assert block_sparse._pieces(problems=17, blocks=100) == 1
    assert block_sparse._pieces(problems=1, blocks=100) == 8
    assert block_sparse._pieces(problems=1, blocks=3) == 3


@needs_compiler
def test_memory_is_that_of_inputs() -> None:
    """At 4,096 x 4,096, where one matrix of weights takes 64 MiB, forward and backward."""
    (blocks,) = blocks_of(Mask(window=(64, 64)), 0, 4096, 4096, 64, CPU)
    leaves = [torch.randn(1, 1, 4096, 16, requires_grad=True) for _ in range(3)]
    assert (
        _peak_mib(lambda: attend(*leaves, blocks=blocks, scale=0.25).context.sum().backward()) < 12
    )


RULES: list[Pattern] = [
    Window(20, 9),
    Dilated(3, 5),
    Strided(9),
    Block(24, 1),
    BigBird(16, 1, 1, 1, 0),
]


def _mechanism(kernel: str, name: str = "multihead", dropout: float = 0.0) -> Attention:
    return attention(named(name, kernel=kernel, dropout=dropout), "self")


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", ["multihead", "differential", "sink", "off_by_one", "rope"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_mechanism_is_the_same_by_blocks(rule: Pattern, name: str, causal: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 150, DIM, dtype=torch.float64, requires_grad=True)
    keys = torch.arange(150) < torch.tensor([[150], [97]])
    mask = Mask(keys=keys, causal=causal, patterns=(rule,))
    found = {}
    for kernel in ("sparse", "reference"):
        context = _mechanism(kernel, name)(x, x, x, mask)
        (gradient,) = torch.autograd.grad(context.square().sum(), x)
        found[kernel] = context, gradient
    for one, other in zip(found["sparse"], found["reference"], strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-6)


def test_steps_equal_the_whole_over_several_blocks() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 150, DIM, dtype=torch.float64)
    for rule in RULES:
        mask = Mask(causal=True, patterns=(rule,))
        mechanism = _mechanism("sparse")
        state = mechanism.start(None, None)
        steps = [mechanism(s, s, s, mask, state=state) for s in x.split((60, 1, 80, 9), 1)]
        whole = _mechanism("reference")(x, x, x, mask)
        torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_last_block_may_be_of_any_length(dtype: torch.dtype) -> None:
    """Rows of a product are taken several at once; how many depends on the CPU and the type."""
    torch.manual_seed(0)
    for length in range(16, 33):
        inputs = [torch.randn(1, 1, length, 16, dtype=dtype, requires_grad=True) for _ in "qkv"]
        (blocks,) = blocks_of(Mask(causal=True), 0, length, length, 16, inputs[0].device)
        found = attend(*inputs, blocks, 0.25).context  # type: ignore[arg-type]
        expected = F.scaled_dot_product_attention(*inputs, is_causal=True, scale=0.25)  # type: ignore[arg-type]
        for one, other in zip(
            torch.autograd.grad(found.square().sum(), inputs),
            torch.autograd.grad(expected.square().sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_bf16_adds_up_in_fp32() -> None:
    """The only error beyond that of rounded inputs is the rounding of the context."""
    torch.manual_seed(0)
    mechanism = _mechanism("sparse").bfloat16()
    x = torch.randn(2, 150, DIM, dtype=torch.bfloat16)
    call = mechanism.call(x, x, x, Mask(window=(20, 20)))
    exact = call.expected @ call.present_value.float()
    found = mechanism.attend(call)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=1e-3, rtol=2**-8)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler on the path: the listed blocks are gathered, with the same results."""
    torch.manual_seed(0)
    x, mask = torch.randn(1, 150, DIM, dtype=torch.float64), Mask(window=(20, 20))
    expected = _mechanism("reference")(x, x, x, mask)
    monkeypatch.setattr(native, "library", lambda: None)
    torch.testing.assert_close(_mechanism("sparse")(x, x, x, mask), expected)


def test_the_masses_of_blocks_come_with_the_pass() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 256, DIM, dtype=torch.float64)
    mechanism = _mechanism("sparse")
    call = mechanism.call(x, x, x, Mask(causal=True))
    mechanism.attend(call)
    assert call.block_mass is not None
    size = 256 // call.block_mass.shape[-1]
    pooled = call.expected.unflatten(3, (-1, size)).unflatten(2, (-1, size)).sum(-1).mean(3)
    torch.testing.assert_close(call.block_mass, pooled)


@pytest.mark.parametrize("name", ["multihead", "grouped_query", "differential", "sink", "additive"])
def test_rows_and_heads_of_a_map(name: str) -> None:
    torch.manual_seed(0)
    mechanism = attention(named(name), "self")
    x = torch.randn(2, 20, DIM, dtype=torch.float64)
    heads, rows = [mechanism.heads.count - 1, 0], [3, 17]
    mask = Mask(custom=torch.rand(2, 1, 20, 20) > 0.2)
    whole = mechanism.weights(x, x, mask)
    part = mechanism.weights(x, x, mask, rows=rows, heads=heads)
    torch.testing.assert_close(part, whole[:, heads][:, :, rows])
    logs = mechanism.log_weights(x, x, mask, rows=rows, heads=-1)
    torch.testing.assert_close(logs.exp(), whole[:, -1:, rows].clamp_min(0), atol=1e-12, rtol=1e-6)


def test_what_it_cannot_serve_it_refuses() -> None:
    x = torch.randn(1, 6, DIM, dtype=torch.float64)
    mechanism = _mechanism("sparse")
    call = mechanism.call(x, x, x)
    kernel = BlockSparse()
    assert kernel.obstacle(call) is None
    assert "bias" in str(kernel.obstacle(replace(call, bias=torch.zeros(1, 1, 6, 6))))
    assert "longer call" in str(kernel.obstacle(call.rows([1, 2])))


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("padded", [False, True])
def test_blocks_for_flex_attention(rule: Pattern, padded: bool) -> None:
    """The same blocks as a `BlockMask`; FlexAttention runs forward on a CPU."""
    from torch.nn.attention.flex_attention import flex_attention

    torch.manual_seed(0)
    mechanism = _mechanism("reference")
    x = torch.randn(2, 300, DIM, dtype=torch.float64)
    keys = torch.arange(300) < torch.tensor([[300], [120]])
    mask = Mask(keys=keys if padded else None, causal=True, patterns=(rule,))
    call = mechanism.call(x, x, x, mask)
    mask_of_blocks = block_mask(call)
    assert not mask_of_blocks.to_dense().bool().all()  # the future is left out
    found = flex_attention(
        call.query, call.key, call.present_value, block_mask=mask_of_blocks,
        scale=call.parts.score.scale,
    )  # fmt: skip
    torch.testing.assert_close(found, call.expected @ call.present_value)
