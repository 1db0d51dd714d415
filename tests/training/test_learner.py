"""bf16 where the CPU has no bf16 instructions, and a GPU where there is none."""

from __future__ import annotations

import os
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

from attnlab.errors import UserError
from attnlab.training import distributed
from attnlab.training.learner import keep_recurrent_in_fp32
from tests.commands import run


@pytest.mark.parametrize("layer", [nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3)])
def test_a_recurrent_layer_computes_in_fp32_under_autocast(layer: nn.Module) -> None:
    plain, inputs = deepcopy(layer), torch.randn(2, 5, 4)
    keep_recurrent_in_fp32(layer)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = deepcopy(layer)(inputs.bfloat16())
    assert output.dtype == torch.float32
    expected, _ = plain(inputs.bfloat16().float())
    torch.testing.assert_close(output, expected)


def test_a_cpu_with_avx2_alone_trains_a_recurrent_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    program = (
        "import torch; from torch import nn; from attnlab.training import precision as p; "
        "m = nn.LSTM(4, 4); p.cpu_has_bf16_recurrence() or p.keep_recurrent_in_fp32(m); "
        "c = torch.autocast('cpu', torch.bfloat16); c.__enter__(); "
        "m(torch.zeros(2, 1, 4))[0].sum().backward()"
    )
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(distributed.sys, "platform", "linux")
    with pytest.raises(UserError, match="no GPU on this machine; try: trainer=cpu"):
        distributed.require_gpu("gpu")
    distributed.require_gpu("cpu")
