"""On a CUDA device: bf16 training, the routes there, and FlexAttention for masks by rule."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.kernels.choose import implementation
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.combinations import is_recurrent, kernels_for
from tests.attention.mechanisms import NAMED, named

pytestmark = pytest.mark.gpu
DIM, LENGTH = 128, 256


def _on_device(name: str) -> Attention:
    torch.manual_seed(0)
    config = named(name)
    site = "decoder.cross.0" if is_recurrent(config) else "encoder.self.0"
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM)
    return Attention(config, **dims, output_dim=None, site=site, max_length=LENGTH).cuda()


@pytest.mark.parametrize("name", NAMED)
def test_a_step_of_bf16_training(name: str) -> None:
    mechanism = _on_device(name)
    length = 32 if mechanism.recurrent else LENGTH
    x = torch.randn(2, length, DIM, device="cuda", requires_grad=True)
    mask = Mask(keys=torch.arange(length, device="cuda").expand(2, -1) < length - 7)
    with torch.autocast("cuda", torch.bfloat16):
        context = mechanism(x, x, x, mask)
    context.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["window", "dilated", "sparse", "block", "bigbird", "multihead"])
@pytest.mark.parametrize("padded", [False, True])
def test_flex_agrees_with_the_reference(name: str, padded: bool) -> None:
    mechanism = _on_device(name)
    x = torch.randn(2, LENGTH, DIM, device="cuda", requires_grad=True)
    keys = torch.arange(LENGTH, device="cuda") < torch.tensor([[LENGTH], [100]], device="cuda")
    mask = Mask(keys=keys if padded else None, causal=True)
    found = {}
    for kernel in ("reference", "flex"):
        mechanism.kernels.forced = kernel
        context = mechanism(x, x, x, mask)
        (gradient,) = torch.autograd.grad(context.square().sum(), x)
        found[kernel] = context, gradient
    for one, other in zip(found["flex"], found["reference"], strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("name", [name for name in NAMED if not is_recurrent(named(name))])
def test_every_route_agrees_with_the_reference(name: str) -> None:
    mechanism = _on_device(name).eval()
    x = torch.randn(2, LENGTH, DIM, device="cuda")
    mechanism.kernels.forced = "reference"
    expected = mechanism(x, x, x)
    for kernel in kernels_for(mechanism.config):
        if implementation(kernel).obstacle(mechanism.call(x, x, x)) is None:
            mechanism.kernels.forced = kernel
            torch.testing.assert_close(mechanism(x, x, x), expected, atol=1e-3, rtol=1e-3)
