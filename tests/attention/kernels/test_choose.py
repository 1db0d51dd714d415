"""Which kernel is taken, and that the user can overrule it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from attnlab.attention.call import Kernel
from attnlab.attention.kernels import choose, measure
from attnlab.attention.kernels.choose import implementation
from attnlab.attention.mask import Mask
from attnlab.attention.mechanism import Attention
from attnlab.config.combinations import kernels
from tests.attention.mechanisms import DIM, attention, inputs, named


def _taken(mechanism: Attention, mask: Mask | None = None, length: int = 6, batch: int = 2) -> str:
    x, _ = inputs("self", keys=length, batch=batch)
    call = mechanism.call(x, x, x, mask)
    return next(name for name in kernels() if implementation(name) is call.kernel)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Writes figures as `measure` would; the ones at hand come back afterwards."""

    def write(ratios: dict) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        path = choose.cached_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": choose.FORMAT, "ratios": ratios}))
        _forget()

    yield write
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    choose.curve.cache_clear()
    choose._figures.cache_clear()


def test_every_kernel_of_the_table_is_there() -> None:
    for name in kernels():
        assert isinstance(implementation(name), Kernel)


def test_measured_figures_decide(figures) -> None:
    small, large = {"8": 2.0, "64": 0.5}, {"8": 0.5}
    masked = {"4096": {"8": 0.5}}
    figures(
        {"cpu": {"sdpa": {"train-plain": {"16": small, "4096": large}, "train-masked": masked}}}
    )
    mechanism = attention(named("multihead"), "self")
    assert _taken(mechanism, length=8) == "reference"
    assert _taken(mechanism, length=60) == "sdpa"
    assert _taken(mechanism, length=8, batch=500) == "sdpa"
    assert _taken(mechanism, Mask(causal=True), length=8) == "sdpa"


def test_blocks_are_taken_where_few_are_read(figures) -> None:
    """By what a call costs with no pair, and by the share of pairs."""
    sizes = {"512": {"128": 0.4}}
    sparse = {"train-none": {"512": {"128": 0.1}}, "train-all": {"512": {"128": 1.1}}}
    figures({"cpu": {"sdpa": {"train-masked": sizes}, "sparse": sparse}})
    mechanism = attention(named("multihead"), "self")
    taken = {
        share: _taken(mechanism, Mask(window=(reach, reach)), length=512, batch=1)
        for share, reach in (("few", 8), ("most", 300))
    }
    assert taken == {"few": "sparse", "most": "sdpa"}
    assert _taken(mechanism, Mask(window=(8, 8)), length=100, batch=1) == "sdpa"
    assert _taken(mechanism, Mask(keys=torch.ones(1, 512) > 0), length=512, batch=1) == "sdpa"


def test_a_kind_of_mask_that_was_not_measured_counts_as_padding(figures) -> None:
    figures({"cpu": {"sdpa": {"train-masked": {"512": {"8": 2.0}}}}})
    mechanism = attention(named("multihead"), "self")
    for mask in (Mask(causal=True), Mask(window=(1, 1))):
        assert _taken(mechanism, mask, length=8) == "reference"


@pytest.mark.parametrize("kernel", measure.MEASURED)
def test_a_kernel_can_be_measured(kernel: str) -> None:
    score, _, _, cases = measure.MEASURED[kernel]
    for case in cases:
        cell = measure.Cell(kernel, "train", case, tokens=256, length=128)
        ratios = measure.ratios(cell, measure.mechanism(score), seconds=0.0)
        assert set(ratios) == ({"none", "all"} if kernel == "sparse" else {case})
        assert all(ratio >= 0 for ratio in ratios.values())


def test_figures_kept_by_another_version_are_not_read(figures) -> None:
    figures({"cpu": {"sdpa": {"train-plain": {"512": {"8": 2.0}}}}})
    assert choose.curve("cpu", "additive", "train-plain", 512) is None
    path = choose.cached_path()
    path.write_text(json.dumps({"ratios": {}}))
    _forget()
    assert choose.curve("cpu", "additive", "train-plain", 512) is not None


def test_a_curve_is_interpolated_on_a_logarithmic_scale() -> None:
    curve = choose.Curve((16, 64), (2.0, 1.0))
    assert curve.ratio(1) == 2
    assert curve.ratio(32) == pytest.approx(1.5)
    assert curve.ratio(10_000) == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "\0",
        '{"format": 3}',
        '{"format": 3, "ratios": {"cpu": {"sdpa": {"x": {"y": {}}}}}}',
    ],
)
def test_damaged_figures_are_told_and_not_used(
    content: str, figures, capsys: pytest.CaptureFixture[str]
) -> None:
    figures({})
    path = choose.cached_path()
    path.write_text(content)
    assert choose._figures() == json.loads(choose.SHIPPED.read_text())["ratios"]
    message = capsys.readouterr().err
    assert message.startswith(f"{path}: damaged (")
    assert message.endswith(f"; try: rm {path}; the figures of this package are used\n")


def test_shipped_figures_cover_what_is_dispatched() -> None:
    ratios = json.loads(choose.SHIPPED.read_text())["ratios"]["cpu"]
    cases = {
        "additive": {"plain", "masked"},
        "sdpa": {"plain", "masked", "causal", "ruled"},
        "sparse": {"none", "all"},
    }
    assert set(ratios) == set(cases)
    for kernel, measured_cases in ratios.items():
        expected = {f"{way}-{case}" for way in ("train", "infer") for case in cases[kernel]}
        assert set(measured_cases) == expected
        assert all(set(sizes) == {"512", "4096"} for sizes in measured_cases.values())


@pytest.mark.parametrize(
    ("name", "kernel"), [("linear", "linear"), ("nystrom", "nystrom"), ("entmax", "additive")]
)
def test_the_special_kernel_is_taken(name: str, kernel: str, figures) -> None:
    figures({})
    assert _taken(attention(named(name), "self")) == kernel


def test_the_user_overrules() -> None:
    for kernel in ("reference", "sdpa"):
        assert _taken(attention(named("multihead", kernel=kernel), "self")) == kernel


def test_dropped_weights_are_left_to_the_reference_on_a_cpu(figures) -> None:
    figures({})
    mechanism = attention(named("multihead", dropout=0.1), "self")
    assert _taken(mechanism.eval()) == "sdpa"
    assert _taken(mechanism.train()) == "reference"


def test_linear_attention_leaves_other_masks_to_the_reference(figures) -> None:
    figures({})
    mechanism = attention(named("linear"), "self")
    assert _taken(mechanism, Mask(causal=True)) == "linear"
    assert _taken(mechanism, Mask(window=(1, 1))) == "reference"


@pytest.mark.parametrize("kernel", ["sdpa", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mask", ["none", "padding", "causal", "window", "custom"])
def test_low_precision_is_no_worse_than_torch(kernel: str, dtype: torch.dtype, mask: str) -> None:
    """|ours - exact| <= 2 |torch in that precision - exact|, the criterion of FlashAttention."""
    torch.manual_seed(0)
    masks = {
        "none": Mask(),
        "padding": Mask(keys=torch.arange(48) < torch.tensor([48, 30])[:, None]),
        "causal": Mask(causal=True),
        "window": Mask(window=(5, 3)),
        "custom": Mask(custom=torch.rand(2, 1, 48, 48) > 0.3),
    }
    chosen = masks[mask]
    config = named("scaled_dot", kernel=kernel)
    dims = dict.fromkeys(("query_dim", "key_dim", "value_dim"), DIM)
    mechanism = Attention(config, **dims, output_dim=None, site="encoder.self.0")
    x = torch.randn(2, 48, DIM, dtype=torch.float64)
    allowed = chosen.allowed(torch.arange(48), 48)
    allowed = torch.ones(2, 1, 48, 48, dtype=torch.bool) if allowed is None else allowed
    logits = (x @ x.mT / DIM**0.5)[:, None].masked_fill(~allowed, float("-inf"))
    exact = (logits.softmax(-1) @ x[:, None])[:, 0]
    low = x.to(dtype)
    rounded = (low @ low.mT / DIM**0.5)[:, None].masked_fill(~allowed, float("-inf"))
    theirs = (rounded.softmax(-1) @ low[:, None])[:, 0]
    ours = mechanism(low, low, low, chosen)
    rows = slice(None) if chosen.keys is None else chosen.keys
    error, bound = (ours - exact)[rows].abs().max(), (theirs - exact)[rows].abs().max()
    assert error <= 2 * bound + 1e-6
