"""The mathematical golden model against definitions and exact integers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import golden
from sim.requantise import requantise

INT8_RANGE = st.integers(-128, 127)


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_gemm_is_the_sum_of_products(m: int, k: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(-128, 128, (m, k), dtype=np.int8)
    w = generator.integers(-128, 128, (k, n), dtype=np.int8)
    y = golden.gemm(x, w)
    assert y.dtype == np.int32
    for i in range(m):
        for j in range(n):
            assert int(y[i, j]) == sum(int(x[i, t]) * int(w[t, j]) for t in range(k))


def test_gemm_wraps_as_int32_does() -> None:
    steps = (1 << 17) + 1
    x = np.full((1, steps), -128, np.int8)
    w = np.full((steps, 1), -128, np.int8)
    assert int(golden.gemm(x, w)[0, 0]) == (steps * 16384 + (1 << 31)) % (1 << 32) - (1 << 31)


@settings(max_examples=100)
@given(
    st.lists(INT8_RANGE, min_size=3, max_size=3),
    st.lists(INT8_RANGE, min_size=3, max_size=3),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 63),
)
def test_requantised_is_the_rounded_fraction(x, w, bias: int, multiplier: int, shift: int) -> None:
    y = golden.requantised_gemm(
        np.array([x], np.int8),
        np.array([w], np.int8).T.copy(),
        np.array([bias], np.int32),
        np.array([multiplier], np.uint32),
        np.array([shift], np.uint8),
    )
    total = sum(a * b for a, b in zip(x, w, strict=True))
    exact = Fraction((total + bias) * multiplier, 2**shift)
    assert int(y[0, 0]) == max(-128, min(127, math.floor(exact + Fraction(1, 2))))
    # The interpreter's own output stage says the same.
    assert int(requantise(np.array([total]), bias, multiplier, shift)[0]) == int(y[0, 0])


def test_half_is_rounded_up_on_both_sides_of_zero() -> None:
    x = np.array([[1], [3], [-1], [-3]], np.int8)
    one = np.ones((1, 1), np.int8)
    y = golden.requantised_gemm(x, one, np.zeros(1, np.int32), np.ones(1, np.uint32), np.ones(1, np.uint8))
    assert y[:, 0].tolist() == [1, 2, 0, -1]


@settings(max_examples=200)
@given(st.floats(2.0**-33, 2.0**31, exclude_max=True))
def test_dyadic_is_the_nearest_of_31_bits(scale: float) -> None:
    multiplier, shift = golden.dyadic(scale)
    assert 0 <= shift <= 63
    assert 2**30 <= multiplier <= 2**31
    exact = Fraction(scale) * 2**shift
    assert multiplier == math.floor(exact + Fraction(1, 2))


def test_dyadic_of_known_scales() -> None:
    assert golden.dyadic(0.5) == (2**30, 31)
    assert golden.dyadic(1.0) == (2**30, 30)
    assert golden.dyadic(0.0) == (0, 31)
    assert golden.dyadic(2.0**-33) == (2**30, 63)
    multipliers, shifts = golden.dyadics(np.array([0.5, 1.0]))
    assert (multipliers.dtype, multipliers.tolist()) == (np.uint32, [2**30, 2**30])
    assert (shifts.dtype, shifts.tolist()) == (np.uint8, [31, 30])


@pytest.mark.parametrize("scale", [-1.0, math.inf, math.nan, 2.0**31, 2.0**-34])
def test_dyadic_refuses_what_it_cannot_express(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        golden.dyadic(scale)


def test_sums_too_large_for_floats_wrap_as_int32_does() -> None:
    values = np.array([[1 << 40, -(1 << 33), (1 << 31) + 5]])
    result = golden.gemm(values, values.T)
    exact = sum(int(v) ** 2 for v in values[0])
    assert int(result[0, 0]) == (exact + 2**31) % 2**32 - 2**31


def test_wrong_arrays_are_refused() -> None:
    x, w = np.zeros((2, 3), np.int8), np.zeros((3, 4), np.int8)
    with pytest.raises(TypeError, match="x must be an array of integers, not float64"):
        golden.gemm(x.astype(np.float64), w)
    with pytest.raises(ValueError, match="w must have 2 dimensions, not 1"):
        golden.gemm(x, w[0])
    with pytest.raises(ValueError, match="rows of w must be 3"):
        golden.gemm(x, w[:2])
    shift = np.full(4, 64, np.uint8)
    with pytest.raises(ValueError, match="shift must be 0 to 63, not 64"):
        golden.requantised_gemm(x, w, np.zeros(4, np.int32), np.zeros(4, np.uint32), shift)
