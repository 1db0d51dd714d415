"""Maps as text and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from attnlab.report.encoding import Bits, pack, unpack

weights = arrays(
    np.float64, array_shapes(min_dims=1, max_dims=3, max_side=6), elements=st.floats(0, 1)
)


@pytest.mark.parametrize("bits", [8, 16])
@given(weights)
def test_a_weight_is_off_by_half_a_step_at_most(bits: Bits, map_: np.ndarray):
    # weight = peak * (n / N)^2: half a step of n is peak * n / N^2, so peak / N at most.
    step = map_.max() / (2**bits - 1)
    assert np.allclose(unpack(pack(map_, bits)), map_, atol=1.01 * step + 1e-6)


def test_the_order_of_small_weights_is_kept():
    map_ = np.array([0.9, 0.002, 0.001, 0.0005, 0])
    found = unpack(pack(map_, bits=8))
    assert (np.diff(found) < 0).all()
    assert found[-1] == 0


def test_what_is_no_number_counts_as_zero():
    assert unpack(pack([[np.nan, 1.0], [-1.0, 0.5]])).tolist()[0] == [0, 1]
    assert unpack(pack(np.zeros((2, 0)))).shape == (2, 0)
